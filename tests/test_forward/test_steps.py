import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.normal_matrices import NormalMatrices
from mmlayerwise.forward.steps import STEPS, step_direction


def random_problem(seed, dimension=6, filters=3):
    generator = torch.Generator().manual_seed(seed)

    def semidefinite():
        rank = int(torch.randint(1, 2 * dimension, (), generator=generator))
        shape = (2, filters, dimension, rank)
        factors = torch.randn(shape, generator=generator, dtype=torch.float64)
        return factors @ factors.mT

    start = torch.randn(2, filters, dimension, generator=generator, dtype=torch.float64)
    return NormalMatrices(semidefinite(), semidefinite()), start


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), step=st.sampled_from(STEPS), size=st.floats(0.01, 1.99))
def test_every_step_below_two_lowers_the_frozen_loss(seed, step, size):
    matrices, filters = random_problem(seed)
    moved = filters + size * step_direction(matrices, filters, step)
    assert matrices.loss(moved) < matrices.loss(filters)


@pytest.mark.parametrize('step', STEPS)
def test_the_step_leads_downhill_from_the_gradient_of_autograd(step):
    matrices, filters = random_problem(1)
    free = filters.clone().requires_grad_()
    difference = matrices.friends - matrices.enemies
    (difference @ free[..., None] * free[..., None]).sum().backward()
    direction = step_direction(matrices, filters, step)
    assert ((direction * free.grad).sum(2) < 0).all()
    if step == 'gradient':
        cosine = torch.cosine_similarity(direction, free.grad, dim=2)
        torch.testing.assert_close(cosine, -torch.ones_like(cosine))


def test_ls_is_the_least_squares_solution_for_its_pseudo_targets():
    torch.manual_seed(0)
    positive, negative = torch.randn(2, 200, 5, dtype=torch.float64)
    start = torch.randn(5, dtype=torch.float64)
    targets = torch.cat([torch.zeros(200, dtype=torch.float64), 2 * negative @ start])
    solution = torch.linalg.lstsq(torch.cat([positive, negative]), targets[:, None]).solution[:, 0]
    matrices = NormalMatrices(
        (positive.T @ positive)[None, None], (negative.T @ negative)[None, None]
    )
    direction = step_direction(matrices, start[None, None], 'ls')[0, 0]
    # Up to the regularisation, a thousandth of the mean diagonal.
    torch.testing.assert_close(start + direction, solution, rtol=0.01, atol=0.01)


def test_a_filter_that_no_patch_passes_does_not_move():
    matrices, filters = random_problem(2)
    for one in (matrices.friends, matrices.enemies):
        one[0, 1] = 0
    for step in STEPS:
        direction = step_direction(matrices, filters, step)
        assert direction.isfinite().all()
        assert not direction[0, 1].any()


def test_an_unknown_step_is_refused():
    with pytest.raises(ForwardLearningError, match="'mm', 'ls', 'gradient' or None, got 'newton'"):
        step_direction(*random_problem(0), 'newton')
