"""Filters from the eigenvectors of the patches' covariance."""

import torch
from torch import Tensor

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.patches import ConvolutionPatches

# Eigenvalues below this share of the largest are rounding errors or exact dependences.
RANK_TOLERANCE = 1e-6


class EigenFilters:
    """First filters, and later ones to replace those that died.

    The eigenvectors, ranked by their eigenvalues, come first, each followed by its negative: behind
    a ReLU the two together pass on the whole projection. Once all are given out, further filters
    are Gaussian draws with the patches' covariance, each again followed by its negative. The bias
    of a filter is minus its product with the mean patch, which is 0 for centred patches.

    Filters are scaled to ``gauge`` 1: unit norm or, before a batch normalisation, which scales
    every filter's output by itself, unit variance of the output.

    Args:
        patches: The patches.
        negatives: Whether negatives are taken too; without them the filters are those of a plain
            principal component analysis.
        seed: Of the Gaussian draws.

    Attributes:
        rank: Number of eigenvectors of each group with an eigenvalue above rounding.
    """

    def __init__(self, patches: ConvolutionPatches, negatives: bool = True, seed: int = 0) -> None:
        self.patches = patches
        self.negatives = negatives
        values, vectors = torch.linalg.eigh(patches.covariance)
        values, vectors = values.flip(1), vectors.flip(2)
        if not bool((values[:, 0] > 0).all()):
            raise ForwardLearningError(
                'The patches of a group of channels are all equal, so there is nothing to learn '
                'from. Check the data and the data preprocessor.'
            )
        self.rank = [int((one > RANK_TOLERANCE * one[0]).sum()) for one in values]
        # The sign of an eigenvector is arbitrary: make the largest component positive.
        largest = vectors.abs().argmax(1, keepdim=True)
        self.vectors = vectors * vectors.gather(1, largest).sign()
        self.values = values
        self.generator = torch.Generator().manual_seed(seed)
        self._given = [0] * patches.groups
        self._negative: list[Tensor | None] = [None] * patches.groups

    def initial(self) -> Tensor:
        """The filters to start from.

        Returns:
            float64 of shape (groups, filters a group, dimension).
        """
        per_group = self.patches.layer.out_channels // self.patches.groups
        groups = range(self.patches.groups)
        return torch.stack([torch.stack([self.next(g) for _ in range(per_group)]) for g in groups])

    def next(self, group: int) -> Tensor:
        """The next filter of a group, float64 of shape (dimension,)."""
        waiting = self._negative[group]
        if waiting is not None:
            self._negative[group] = None
            return waiting
        theta = self._direction(group)
        theta = theta / gauge(self.patches, theta[None, None], group).item()
        new = theta.new_zeros(self.patches.dimension)
        new[: len(theta)] = theta
        if self.negatives:
            self._negative[group] = -new
        return new

    def _direction(self, group: int) -> Tensor:
        number = self._given[group]
        self._given[group] += 1
        rank = self.rank[group]
        if number < rank:
            return self.vectors[group, :, number]
        draw = torch.randn(rank, generator=self.generator, dtype=torch.float64)
        spread = self.values[group, :rank].sqrt() * draw.to(self.values.device)
        return self.vectors[group, :, :rank] @ spread


def gauge(patches: ConvolutionPatches, filters: Tensor, group: int | None = None) -> Tensor:
    """What is kept fixed of every filter, since the separation index is blind to a common scale.

    Args:
        patches: The patches.
        filters: float64 of shape (groups, filters a group, dimension or patch_size).
        group: The one group that the filters are of.

    Returns:
        Shape (groups, filters a group): the norm of the weights or, before a batch normalisation,
        the standard deviation of the output.
    """
    theta = filters[..., : patches.patch_size]
    if not patches.batch_norm:
        return theta.norm(dim=2)
    covariance = patches.covariance if group is None else patches.covariance[group : group + 1]
    return (torch.bmm(theta, covariance) * theta).sum(2).clamp(min=0).sqrt()
