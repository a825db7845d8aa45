"""Greedy forward selection of features or feature maps by the separation or smoothness index."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.greedy import Gain, GreedySearch
from mmlayerwise.separation.indices import check_samples
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY
from mmlayerwise.separation.smoothness import (
    SmoothnessKind,
    TargetScore,
    check_targets,
    distance_range,
    target_distances,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FeatureRanking:
    """Features in the order in which greedy forward selection takes them.

    Attributes:
        order: The features, best first; ties went to the lowest number.
        indices: float64 of shape (len(order),): index of the first k + 1 features together.
        alone: float64 of shape (num_features,): index of every single feature.
    """

    order: list[int]
    indices: Tensor
    alone: Tensor

    def num_kept(self, tolerance: float = 0.005) -> int:
        """Smallest number of features whose index is within ``tolerance`` of the best."""
        if not tolerance >= 0:
            raise SeparationError(f'The tolerance must not be negative, got {tolerance}.')
        # Indices are shares of samples: 1e-9 keeps their rounding from deciding.
        enough = self.indices >= self.indices.max() - tolerance - 1e-9
        return int(enough.nonzero()[0]) + 1

    def selected(self, tolerance: float = 0.005) -> list[int]:
        """The features that suffice, see :meth:`num_kept`, in ascending order."""
        return sorted(self.order[: self.num_kept(tolerance)])


def rank_features(
    features: Tensor,
    labels: Tensor,
    *,
    max_features: int | None = None,
    shortlist: int | None = None,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> FeatureRanking:
    """Rank features by greedy forward selection on the separation index, exactly.

    Every step adds the feature that gives the chosen ones together the highest index. The result is
    that of measuring each candidate set anew, except where two distances agree to about 1e-12
    relative.

    Args:
        features: Any real dtype, shape (num_samples, num_features, ...). A feature is taken or left
            with all its positions: feature maps are channels of (num_samples, channels, height,
            width). Flatten to (num_samples, num_features) to select single units.
        labels: Integers of shape (num_samples,).
        max_features: How many features to rank; all by default.
        shortlist: How many candidates a step looks at: those with the highest index alone. All by
            default.
        groups: Integers of shape (num_samples,): samples of one group are no neighbours.
        max_memory: Bytes for lists and blocks beside a few copies of the features.
        progress: Called as ``progress(done, total)`` after every ranked feature.

    Returns:
        The ranking with the index after every step.

    Raises:
        SeparationError: For fewer than two samples, shapes that disagree, labels that aren't
            integers, NaN or infinite features, counts below 1, or a sample without a neighbour
            outside its group.
    """
    _, labels = check_samples(features, labels)

    def gain(rows: Tensor, columns: Tensor) -> Tensor:
        return (labels[columns] == labels[rows, None]).float()

    return _rank(features, gain, max_features, shortlist, groups, max_memory, progress, binary=True)


def rank_features_by_smoothness(
    features: Tensor,
    targets: Tensor,
    *,
    kind: SmoothnessKind = 'linear',
    gamma: float = 1.0,
    max_features: int | None = None,
    shortlist: int | None = None,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> FeatureRanking:
    """Rank features by greedy forward selection on the smoothness index.

    As :func:`rank_features`, with real ``targets`` of shape (num_samples, ...), ``kind`` and
    ``gamma`` as in :func:`~mmlayerwise.separation.measure_smoothness`. Values of single samples are
    rounded to 2**-32, so that equally good candidates tie whatever the order of summation.

    Raises:
        SeparationError: As for :func:`rank_features` and
            :func:`~mmlayerwise.separation.measure_smoothness`.
    """
    score = TargetScore(kind, gamma)
    flat, targets = check_targets(features, targets)
    groups = None if groups is None else _check_groups(groups, flat)
    ranges = []
    for _, distance, admitted in target_distances(
        targets, targets, groups, max_memory, itself=True
    ):
        ranges.append(torch.cat(distance_range(distance, admitted), 1))
    farthest, nearest, mean = torch.cat(ranges).split(1, 1)

    def gain(rows: Tensor, columns: Tensor) -> Tensor:
        distance = (targets[columns] - targets[rows, None]).square_().sum(2).sqrt_()
        value = score(distance, farthest[rows], nearest[rows], mean[rows])
        return (value.clamp_(0, 1) * 2**32).round_() / 2**32

    return _rank(features, gain, max_features, shortlist, groups, max_memory, progress)


def _check_groups(groups: Tensor, features: Tensor) -> Tensor:
    groups = torch.as_tensor(groups, device=features.device)
    if groups.shape != features.shape[:1]:
        raise SeparationError(f'groups must hold one number a sample, got {tuple(groups.shape)}.')
    if groups.unique().numel() < 2:
        raise SeparationError('All samples are of one group; measure more images or groups.')
    return groups


def _rank(
    features: Tensor,
    gain: Gain,
    max_features: int | None,
    shortlist: int | None,
    groups: Tensor | None,
    max_memory: int,
    progress: Progress | None,
    binary: bool = False,
) -> FeatureRanking:
    features = torch.as_tensor(features).detach()
    for name, count in (('max_features', max_features), ('shortlist', shortlist)):
        if count is not None and count < 1:
            raise SeparationError(f'{name} must be at least 1, got {count}.')
    if groups is not None:
        groups = _check_groups(groups, features)
    num_features = features.shape[1]
    total = min(num_features, max_features or num_features)
    width = min(num_features, shortlist or num_features)
    search = GreedySearch(features, gain, groups, max_memory, binary)
    alone = search.alone()
    first, *rest = alone.argsort(descending=True, stable=True).tolist()
    order, indices = [first], [float(alone[first])]
    if progress:
        progress(1, total)
    pool, waiting = rest[:width], iter(rest[width:])
    if total > 1:
        search.start(first, pool)
    while len(order) < total:
        feature, index = search.best()
        order.append(feature)
        indices.append(index)
        if progress:
            progress(len(order), total)
        if len(order) < total:
            search.choose(feature, next(waiting, None))
    return FeatureRanking(order, torch.tensor(indices, dtype=torch.float64), alone.cpu())
