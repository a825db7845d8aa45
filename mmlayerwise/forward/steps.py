"""Directions in which quasi least squares move the filters."""

import torch
from torch import Tensor

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.normal_matrices import NormalMatrices

STEPS = ('mm', 'ls', 'gradient')
# Of the mean diagonal of P + N; keeps the solution finite for filters that see few patches.
REGULARISATION = 1e-3


def step_direction(matrices: NormalMatrices, filters: Tensor, step: str) -> Tensor:
    """Compute the update w~ of every filter; w + mu w~ lowers the frozen loss for 0 < mu < 2.

    - ``mm``: solve (P + rho I) w~ = -A w, the minimiser of the majoriser that keeps P and
      linearises -N.
    - ``ls``: solve (P + N + rho I) w~ = -A w, the least-squares solution that takes the
      friends' differences to 0 and the enemies' to twice what they are; shorter.
    - ``gradient``: -A w over the largest eigenvalue of P + rho I.

    Args:
        matrices: P and N of the filters, A = P - N.
        filters: float64 of shape (groups, filters a group, dimension).
        step: One of :data:`STEPS`.

    Returns:
        float64 of the same shape.
    """
    if step not in STEPS:
        raise ForwardLearningError(
            f'step must be one of {", ".join(map(repr, STEPS))} or None, got {step!r}.'
        )
    friends, enemies = matrices.friends, matrices.enemies
    mean = (friends + enemies).diagonal(dim1=2, dim2=3).mean(2)
    rho = (REGULARISATION * mean).clamp(min=torch.finfo(torch.float64).tiny)
    system = friends + enemies if step == 'ls' else friends
    system = system + torch.diag_embed(rho[..., None].expand_as(filters))
    descent = -torch.einsum('gfde,gfe->gfd', friends - enemies, filters)
    if step == 'gradient':
        return descent / torch.linalg.eigvalsh(system)[..., -1:]
    return torch.linalg.solve(system, descent)
