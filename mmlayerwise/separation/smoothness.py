"""Smoothness indices of regression targets (Kalhor et al., arXiv 1906.05156).

The regression twin of the separation index: how close, among all distances between targets, the
target of a sample's nearest neighbour is to the sample's own. With D_iq = ||y_i - y_q|| and i_k the
k-th nearest neighbour of sample i in the feature space, the value of its k-th neighbour is

- linear: (max_q D_iq - D_i,i_k) / (max_q D_iq - kmin_q D_iq),
- exponential: exp(-gamma (D_i,i_k - kmin_q D_iq) / mean_q D_iq),

where q runs over the other samples and kmin is the k-th smallest. The smoothness index is the mean
over the samples of the first neighbour's value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal, get_args

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.indices import check_samples
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY, nearest_neighbors

SmoothnessKind = Literal['linear', 'exponential']

# Distances that agree to this share of the largest are equal: the value is then 1, not 0 / 0.
_EQUAL = 1e-12


@dataclass(frozen=True)
class Smoothness:
    """How near the targets of every sample's nearest neighbours are, and the indices that follow.

    Attributes:
        values: float64 of shape (num_samples, order): value of the k-th nearest neighbour. The
            first column lies in [0, 1]. A later one exceeds 1 where the k-th neighbour's target is
            nearer than the k-th nearest target, so that ``soft`` may pass 1 and ``anti`` 0.
        chance: Expected index if neighbours were drawn at random from the admitted ones.
    """

    values: Tensor
    chance: float

    @property
    def num_samples(self) -> int:
        """How many samples were measured."""
        return len(self.values)

    @property
    def order(self) -> int:
        """How many neighbours of each sample are known."""
        return self.values.shape[1]

    @property
    def per_sample(self) -> Tensor:
        """float64 of shape (num_samples,): value of the nearest neighbour."""
        return self.values[:, 0]

    @property
    def index(self) -> float:
        """Smoothness index: mean value of the nearest neighbour."""
        return float(self.per_sample.mean())

    def high_order(self, order: int | None = None) -> float:
        """Mean over the samples of the lowest value among the ``order`` nearest neighbours."""
        return float(self._first(order).amin(1).mean())

    def soft(self, order: int | None = None) -> float:
        """Mean value of the ``order`` nearest neighbours."""
        return float(self._first(order).mean())

    def anti(self, order: int | None = None) -> float:
        """Mean over the samples of the lowest ``1 - value`` among the ``order`` neighbours."""
        return float((1 - self._first(order)).amin(1).mean())

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Normal interval of the smoothness index, within [0, 1]."""
        if not 0 < confidence < 1:
            raise SeparationError(f'The confidence must lie in (0, 1), got {confidence}.')
        if self.num_samples < 2:
            return 0.0, 1.0
        error = float(self.per_sample.std()) / sqrt(self.num_samples)
        radius = NormalDist().inv_cdf(0.5 + confidence / 2) * error
        return max(0.0, self.index - radius), min(1.0, self.index + radius)

    def _first(self, order: int | None) -> Tensor:
        order = self.order if order is None else order
        if not 1 <= order <= self.order:
            raise SeparationError(
                f'order {order} was asked of {self.order} known neighbours; '
                'measure with a larger order.'
            )
        return self.values[:, :order]


def measure_smoothness(
    features: Tensor,
    targets: Tensor,
    *,
    kind: SmoothnessKind = 'linear',
    gamma: float = 1.0,
    order: int = 1,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> Smoothness:
    """Find every sample's nearest neighbours and how near their targets are.

    Args:
        features: Any real dtype, shape (num_samples, ...); flattened to one vector a sample.
        targets: Real numbers of shape (num_samples, ...), boxes of shape (num_samples, 4), say;
            flattened to one vector a sample. Scale the components to comparable units.
        kind: ``'linear'`` or ``'exponential'``, see the head of this module.
        gamma: Decay of the exponential kind, positive.
        order: How many neighbours to look at.
        groups: Integers of shape (num_samples,): samples of one group (the boxes of one image,
            say) are no neighbours of each other and their targets are not compared.
        max_memory: Bytes for the blocks of distances beside inputs and result.
        layer: Name used in error messages.

    Returns:
        The neighbours' values, from which all indices are read.

    Raises:
        SeparationError: For too few samples, shapes that disagree, NaN or infinite features or
            targets, an unknown kind, or a sample that has too few admitted neighbours.
    """
    score = TargetScore(kind, gamma)
    features, targets = check_targets(features, targets, layer)
    if not 1 <= order < len(features):
        raise SeparationError(
            f'order {order} needs at least {max(order, 1) + 1} samples and an order of 1 or more'
            f'{_where(layer)}, got {len(features)} samples.'
        )
    if groups is not None:
        groups = torch.as_tensor(groups, device=features.device)
    neighbors = nearest_neighbors(features, order, groups=groups, max_memory=max_memory).indices
    lonely = int((neighbors < 0).any(1).sum())
    if lonely:
        raise SeparationError(
            f'{lonely} of {len(features)} samples{_where(layer)} have fewer than {order} '
            'neighbours outside their own group; measure more images or groups.'
        )
    return _compare(targets, targets, neighbors, score, groups, max_memory, itself=True)


def smoothness_index(
    features: Tensor,
    targets: Tensor,
    *,
    kind: SmoothnessKind = 'linear',
    gamma: float = 1.0,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> float:
    """Mean value of the nearest neighbour's target, in [0, 1].

    Arguments and errors are those of :func:`measure_smoothness`.
    """
    return measure_smoothness(
        features,
        targets,
        kind=kind,
        gamma=gamma,
        groups=groups,
        max_memory=max_memory,
        layer=layer,
    ).index


def sample_smoothness_index(
    features: Tensor,
    targets: Tensor,
    *,
    kind: SmoothnessKind = 'linear',
    gamma: float = 1.0,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> Tensor:
    """Value of each sample's nearest neighbour: float64 of shape (num_samples,), in [0, 1].

    Arguments and errors are those of :func:`measure_smoothness`.
    """
    return measure_smoothness(
        features,
        targets,
        kind=kind,
        gamma=gamma,
        groups=groups,
        max_memory=max_memory,
        layer=layer,
    ).per_sample


def measure_cross_smoothness(
    features: Tensor,
    targets: Tensor,
    train_features: Tensor,
    train_targets: Tensor,
    *,
    kind: SmoothnessKind = 'linear',
    gamma: float = 1.0,
    order: int = 1,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> Smoothness:
    """Compare the targets of test samples with those of their nearest *training* samples.

    Args:
        features: Test samples, shape (num_samples, ...).
        targets: Real numbers of shape (num_samples, ...).
        train_features: Training samples, shape (num_train, ...) of the same dimension.
        train_targets: Real numbers of shape (num_train, ...) of the targets' dimension.
        kind: ``'linear'`` or ``'exponential'``.
        gamma: Decay of the exponential kind.
        order: How many training neighbours to look at.
        max_memory: Bytes for the blocks of distances.
        layer: Name used in error messages.

    Returns:
        As :func:`measure_smoothness`, one row a test sample.

    Raises:
        SeparationError: As for :func:`measure_smoothness`; a single test sample is allowed.
    """
    score = TargetScore(kind, gamma)
    features, targets = check_targets(features, targets, layer, minimum=1)
    train_features, train_targets = check_targets(train_features, train_targets, layer, minimum=1)
    if targets.shape[1] != train_targets.shape[1]:
        raise SeparationError(
            f'Targets have {targets.shape[1]} components and training targets '
            f'{train_targets.shape[1]}{_where(layer)}.'
        )
    if not 1 <= order <= len(train_features):
        raise SeparationError(
            f'order {order} needs at least {max(order, 1)} training samples and an order of 1 or '
            f'more{_where(layer)}, got {len(train_features)}.'
        )
    neighbors = nearest_neighbors(
        train_features, order, queries=features, max_memory=max_memory
    ).indices
    targets = targets.to(train_targets.device)
    return _compare(targets, train_targets, neighbors, score, None, max_memory, itself=False)


def cross_smoothness_index(
    features: Tensor,
    targets: Tensor,
    train_features: Tensor,
    train_targets: Tensor,
    *,
    kind: SmoothnessKind = 'linear',
    gamma: float = 1.0,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> float:
    """Mean value of the nearest *training* sample's target, in [0, 1].

    Arguments and errors are those of :func:`measure_cross_smoothness`.
    """
    return measure_cross_smoothness(
        features,
        targets,
        train_features,
        train_targets,
        kind=kind,
        gamma=gamma,
        max_memory=max_memory,
        layer=layer,
    ).index


@dataclass(frozen=True)
class TargetScore:
    """The formula: turns distances of targets into values.

    Attributes:
        kind: ``'linear'`` or ``'exponential'``.
        gamma: Decay of the exponential kind.
    """

    kind: str = 'linear'
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(SmoothnessKind):
            raise SeparationError(f"kind must be 'linear' or 'exponential', got {self.kind!r}.")
        if not 0 < self.gamma < float('inf'):
            raise SeparationError(f'gamma must be positive and finite, got {self.gamma}.')

    def __call__(self, distance: Tensor, farthest: Tensor, nearest: Tensor, mean: Tensor) -> Tensor:
        """Value of ``distance``, given the row's largest, k-th smallest and mean distance."""
        spread = farthest - nearest
        equal = spread <= _EQUAL * farthest
        if self.kind == 'linear':
            value = (farthest - distance) / spread
        else:
            value = torch.exp(-self.gamma * (distance - nearest) / mean)
        return value.masked_fill(equal, 1.0)


def target_distances(
    targets: Tensor,
    train_targets: Tensor,
    groups: Tensor | None,
    max_memory: int,
    *,
    itself: bool,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Walk all distances between targets in blocks of rows.

    Yields:
        The rows, their float64 distances to all training targets, and which of these are admitted.
    """
    step = max(1, max_memory // (64 * len(train_targets)))
    number = torch.arange(len(train_targets), device=targets.device)
    for start in range(0, len(targets), step):
        rows = slice(start, min(start + step, len(targets)))
        distance = torch.cdist(
            targets[rows], train_targets, compute_mode='donot_use_mm_for_euclid_dist'
        )
        admitted = torch.ones_like(distance, dtype=torch.bool)
        if itself:
            admitted &= number != number[rows, None]
        if groups is not None:
            admitted &= groups[rows, None] != groups
        yield rows, distance, admitted


def distance_range(
    distance: Tensor, admitted: Tensor, order: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Largest, ``order`` smallest (ascending) and mean admitted distance of each row."""
    farthest = distance.masked_fill(~admitted, -torch.inf).amax(1, keepdim=True)
    nearest = distance.masked_fill(~admitted, torch.inf).topk(order, largest=False).values
    total = distance.masked_fill(~admitted, 0).sum(1, keepdim=True)
    return farthest, nearest, total / admitted.sum(1, keepdim=True)


def _compare(
    targets: Tensor,
    train_targets: Tensor,
    neighbors: Tensor,
    score: TargetScore,
    groups: Tensor | None,
    max_memory: int,
    *,
    itself: bool,
) -> Smoothness:
    values = targets.new_empty(neighbors.shape)
    chance = 0.0
    blocks = target_distances(targets, train_targets, groups, max_memory, itself=itself)
    for rows, distance, admitted in blocks:
        farthest, nearest, mean = distance_range(distance, admitted, neighbors.shape[1])
        values[rows] = score(distance.gather(1, neighbors[rows]), farthest, nearest, mean)
        anyone = score(distance, farthest, nearest[:, :1], mean).masked_fill_(~admitted, 0)
        chance += float((anyone.sum(1) / admitted.sum(1)).sum())
    return Smoothness(values, chance / len(targets))


def check_targets(
    features: Tensor, targets: Tensor, layer: str | None = None, minimum: int = 2
) -> tuple[Tensor, Tensor]:
    """Return flattened features and float64 targets on one device, or say what is wrong."""
    where = _where(layer)
    features = torch.as_tensor(features)
    targets = torch.as_tensor(targets, device=features.device)
    if features.ndim < 2 or targets.ndim < 1 or len(features) != len(targets):
        raise SeparationError(
            'Expected features of shape (num_samples, ...) and targets of shape (num_samples, ...)'
            f'{where}, got {tuple(features.shape)} and {tuple(targets.shape)}.'
        )
    if len(features) < minimum:
        raise SeparationError(
            f'A smoothness index needs at least {minimum} samples{where}, got {len(features)}.'
        )
    if targets.is_complex() or targets[0].numel() == 0:
        raise SeparationError(
            f'Targets must be real numbers, at least one a sample{where}, got {targets.dtype} of '
            f'shape {tuple(targets.shape)}.'
        )
    targets = targets.detach().reshape(len(targets), -1).double()
    bad = int((~targets.isfinite()).any(1).sum())
    if bad:
        raise SeparationError(
            f'{bad} of {len(targets)} samples have NaN or infinite targets{where}; leave them out.'
        )
    features, _ = check_samples(features, torch.zeros(len(features)).long(), layer, minimum)
    return features, targets


def _where(layer: str | None) -> str:
    return f' in layer {layer!r}' if layer else ''
