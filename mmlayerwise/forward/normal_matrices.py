"""The triplet loss of a rectified convolution in closed form.

Conditioned patch p_is of sample i at position s, filter w_j, mask m_isj = [w_j . p_is > 0]. With
masks and triplets (i, friend p, enemy n) frozen,

    J = sum_i |f_i - f_p|^2 - |f_i - f_n|^2 = sum_j w_j^T A_j w_j,    A_j = P_j - N_j,
    P_j = sum_is u u^T,  u = m_isj p_is - m_psj p_ps,  and N_j the same with n.

Multiplied out, u u^T holds only products of two patches with 0/1 weights that depend on the filter.
So all filters' matrices are one matrix product: weights (filters x patches) times the outer
products of the patches, every pair of components once (patches x D (D + 1) / 2). It costs 4 n S D^2
F operations, as D x D products filter by filter would, but is one large product instead of many
thin ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.forward.patches import ConvolutionPatches
from mmlayerwise.forward.triplets import Triplets

# Outer products of a chunk: the fastest of 2 to 32 MiB on a processor; an accelerator wants more.
CHUNK_BYTES = {'cpu': 8 * 2**20}
OTHER_CHUNK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class NormalMatrices:
    """The quadratic forms of every filter.

    Attributes:
        friends: P, float64 of shape (groups, filters a group, dimension, dimension).
        enemies: N, the same.
    """

    friends: Tensor
    enemies: Tensor

    def loss(self, filters: Tensor) -> float:
        """J of the frozen masks and triplets.

        Args:
            filters: float64 of shape (groups, filters a group, dimension).
        """
        difference = self.friends - self.enemies
        return torch.einsum('gfd,gfde,gfe->', filters, difference, filters).item()


def normal_matrices(
    patches: ConvolutionPatches, filters: Tensor, triplets: Triplets
) -> NormalMatrices:
    """Compute P and N of every filter with the masks of these filters.

    Products have the precision of the samples, sums over chunks are float64.

    Args:
        patches: The patches.
        filters: Shape (groups, filters a group, dimension).
        triplets: Frozen friends and enemies.

    Returns:
        The symmetric matrices.
    """
    groups, per_group, dimension = filters.shape
    triangle = dimension * (dimension + 1) // 2
    dtype, device = patches.samples.dtype, patches.device
    filters = filters.to(dtype)
    total = torch.zeros(2, groups, per_group, triangle, dtype=torch.float64, device=device)
    # A sample counts once as anchor and as often as it is somebody's friend (or enemy).
    count = len(patches.samples)
    uses = torch.stack(
        [1 + role.bincount(minlength=count) for role in (triplets.friends, triplets.enemies)]
    ).to(dtype)
    limit = CHUNK_BYTES.get(device.type, OTHER_CHUNK_BYTES)
    element = torch.finfo(dtype).bits // 8
    room = None
    for numbers in patches.chunks(element * triangle * groups, limit):
        columns, masks = _masked(patches, filters, numbers)
        if room is None:  # fresh memory for every chunk would cost as much as what it holds
            room = columns.new_empty(groups * triangle * columns.shape[2])
        outer = room[: groups * triangle * columns.shape[2]].view(groups, triangle, -1)
        shifted = _shifted(columns)
        _outer_products(columns, shifted, outer)
        weights = uses[:, numbers].repeat_interleave(patches.num_positions, 1)
        both = (masks[:, None] * weights[:, None]).flatten(1, 2)
        squares = torch.bmm(both, outer.transpose(1, 2)).unflatten(1, (2, per_group))
        total += squares.transpose(0, 1)
        for side, role in enumerate((triplets.friends, triplets.enemies)):
            partner, partner_masks = _masked(patches, filters, role[numbers])
            _outer_products(columns, _shifted(partner), outer)
            _outer_products(partner, shifted, outer, add=True)
            total[side] -= torch.bmm(partner_masks.mul_(masks), outer.transpose(1, 2))
    return NormalMatrices(*(_symmetric(one, dimension) for one in total))


def _masked(patches: ConvolutionPatches, filters: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Patches of some samples, and which of them every filter passes, as 0 and 1."""
    columns = patches.columns(numbers)
    return columns, torch.bmm(filters, columns).gt_(0)


def _shifted(columns: Tensor) -> Tensor:
    """Components row + offset, modulo the dimension, of every patch.

    With offsets 0, 1, ..., D // 2, every pair of components occurs; a pair D / 2 apart twice.

    Returns:
        A view of shape (groups, D // 2 + 1, D, num_patches).
    """
    dimension = columns.shape[1]
    twice = torch.cat([columns, columns[:, : dimension // 2]], 1)
    return twice.unfold(1, dimension, 1).transpose(2, 3)


def _outer_products(left: Tensor, shifted: Tensor, out: Tensor, add: bool = False) -> None:
    """Products of the components of patches with those of others, every pair once.

    Args:
        left: Shape (groups, D, num_patches).
        shifted: What :func:`_shifted` makes of the others.
        out: Shape (groups, D (D + 1) / 2, num_patches); see :func:`_pairs` for the order.
        add: Whether to add to what is there.
    """
    dimension = left.shape[1]
    whole = (dimension + 1) // 2
    full, half = out[:, : whole * dimension].unflatten(1, (whole, -1)), out[:, whole * dimension :]
    factors = [(left[:, None], shifted[:, :whole], full)]
    if half.shape[1]:
        factors.append((left[:, : dimension // 2], shifted[:, whole, : dimension // 2], half))
    for one, other, result in factors:
        if add:
            result.addcmul_(one, other)
        else:
            torch.mul(one, other, out=result)


def _pairs(dimension: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns of a matrix in the order of :func:`_outer_products`."""
    number = torch.arange(dimension * (dimension + 1) // 2, device=device)
    row = number % dimension
    return row, (row + number // dimension) % dimension


def _symmetric(pairs: Tensor, dimension: int) -> Tensor:
    """Matrices of their entries, every pair of components once."""
    rows, columns = _pairs(dimension, pairs.device)
    full = pairs.new_empty(*pairs.shape[:2], dimension, dimension)
    full[..., rows, columns] = pairs
    full[..., columns, rows] = pairs
    return full
