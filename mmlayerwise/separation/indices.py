"""Separation indices of labelled points (Kalhor et al., arXiv 1906.05156).

A point's *friend* is a point of its own class. The separation index is the share of points whose
nearest neighbour is a friend, the leave-one-out accuracy of the nearest neighbour (Thornton's
index).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from statistics import NormalDist

import torch
from torch import Tensor

from mmlayerwise.plugins import hookimpl
from mmlayerwise.separation.centers import class_centers
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY, Neighbors, nearest_neighbors


@dataclass(frozen=True)
class Separation:
    """Which of every sample's nearest neighbours are friends, and the indices that follow.

    Attributes:
        labels: int64 of shape (num_samples,).
        friends: bool of shape (num_samples, order): whether the k-th nearest neighbour has the
            sample's label.
        chance: Expected index if neighbours were drawn at random from the admitted ones.
        neighbors: The neighbours themselves, by their row numbers.
    """

    labels: Tensor
    friends: Tensor
    chance: float
    neighbors: Neighbors

    @property
    def num_samples(self) -> int:
        """How many samples were measured."""
        return len(self.labels)

    @property
    def order(self) -> int:
        """How many neighbours of each sample are known."""
        return self.friends.shape[1]

    @property
    def per_sample(self) -> Tensor:
        """Bool of shape (num_samples,): whether the nearest neighbour is a friend."""
        return self.friends[:, 0]

    @property
    def index(self) -> float:
        """Separation index: share of samples whose nearest neighbour is a friend."""
        return _mean(self.friends[:, 0])

    def high_order(self, order: int | None = None) -> float:
        """Share of samples all of whose ``order`` nearest neighbours are friends."""
        return _mean(self._first(order).all(1))

    def soft(self, order: int | None = None) -> float:
        """Share of friends among the ``order`` nearest neighbours."""
        return _mean(self._first(order))

    def anti(self, order: int | None = None) -> float:
        """Share of samples none of whose ``order`` nearest neighbours is a friend."""
        return _mean(~self._first(order).any(1))

    @cached_property
    def per_class(self) -> dict[int, tuple[float, int]]:
        """Label -> (separation index of the class, its number of samples)."""
        classes = self.labels.unique().tolist()
        members = {label: self.labels == label for label in classes}
        return {
            label: (_mean(self.friends[rows, 0]), int(rows.sum()))
            for label, rows in members.items()
        }

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson interval of the separation index."""
        return wilson_interval(self.index, self.num_samples, confidence)

    def _first(self, order: int | None) -> Tensor:
        order = self.order if order is None else order
        if not 1 <= order <= self.order:
            raise SeparationError(
                f'order {order} was asked of {self.order} known neighbours; '
                'measure with a larger order.'
            )
        return self.friends[:, :order]


def measure(
    features: Tensor,
    labels: Tensor,
    *,
    order: int = 1,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    backend: str = 'exact',
    layer: str | None = None,
) -> Separation:
    """Find every sample's nearest neighbours and whether they are friends.

    Args:
        features: Any real dtype, shape (num_samples, ...); flattened to one vector a sample.
        labels: Integers of shape (num_samples,).
        order: How many neighbours to look at.
        groups: Integers of shape (num_samples,): samples of one group (the pixels of one image,
            say) are no neighbours of each other.
        max_memory: Bytes for the neighbour search, see :func:`nearest_neighbors`.
        backend: Which implementation searches, see :func:`nearest_neighbors`.
        layer: Name used in error messages.

    Returns:
        The neighbours' agreement, from which all indices are read.

    Raises:
        SeparationError: For fewer than two samples, shapes that disagree, labels that aren't
            integers, NaN or infinite features, or a sample that has too few admitted neighbours.
    """
    features, labels = check_samples(features, labels, layer)
    if order >= len(features):
        raise SeparationError(
            f'order {order} needs more than {order} samples{_where(layer)}, got {len(features)}.'
        )
    if groups is not None:
        groups = torch.as_tensor(groups, device=features.device)
    neighbors = nearest_neighbors(
        features, order, groups=groups, max_memory=max_memory, backend=backend
    )
    return separate(neighbors, labels, groups, layer)


def separate(
    neighbors: Neighbors, labels: Tensor, groups: Tensor | None = None, layer: str | None = None
) -> Separation:
    """Judge every sample by its neighbours.

    Args:
        neighbors: Of every sample, among the samples.
        labels: int64 of shape (num_samples,).
        groups: The groups that the search was told of.
        layer: Name used in error messages.

    Raises:
        SeparationError: For a sample that has too few admitted neighbours.
    """
    lonely = (neighbors.indices < 0).any(1)
    if lonely.any():
        raise SeparationError(
            f'{int(lonely.sum())} of {len(labels)} samples{_where(layer)} have fewer than '
            f'{neighbors.indices.shape[1]} neighbours outside their own group; measure more images '
            'or groups.'
        )
    friends = labels[neighbors.indices] == labels[:, None]
    return Separation(labels, friends, chance_level(labels, groups), neighbors)


def separation_index(
    features: Tensor,
    labels: Tensor,
    *,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> float:
    """Share of samples whose nearest neighbour has their label, exact.

    Arguments and errors are those of :func:`measure`.
    """
    return measure(features, labels, groups=groups, max_memory=max_memory, layer=layer).index


def class_separation_index(
    features: Tensor,
    labels: Tensor,
    *,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> dict[int, float]:
    """Separation index of each class: label -> share of its samples whose neighbour is a friend.

    Arguments and errors are those of :func:`measure`.
    """
    found = measure(features, labels, groups=groups, max_memory=max_memory, layer=layer)
    return {label: index for label, (index, _) in found.per_class.items()}


def sample_separation_index(
    features: Tensor,
    labels: Tensor,
    *,
    groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> Tensor:
    """Whether each sample's nearest neighbour is a friend: bool of shape (num_samples,).

    Arguments and errors are those of :func:`measure`.
    """
    found = measure(features, labels, groups=groups, max_memory=max_memory, layer=layer)
    return found.per_sample


def cross_separation_index(
    features: Tensor,
    labels: Tensor,
    train_features: Tensor,
    train_labels: Tensor,
    *,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> float:
    """Share of samples whose nearest *training* sample has their label.

    Args:
        features: Test samples, shape (num_samples, ...).
        labels: Integers of shape (num_samples,).
        train_features: Training samples, shape (num_train, ...) of the same dimension.
        train_labels: Integers of shape (num_train,).
        max_memory: Bytes for the neighbour search.
        layer: Name used in error messages.

    Returns:
        The accuracy of the nearest-neighbour rule.

    Raises:
        SeparationError: As for :func:`measure`; a single sample on either side is allowed.
    """
    features, labels = check_samples(features, labels, layer, minimum=1)
    train_features, train_labels = check_samples(train_features, train_labels, layer, minimum=1)
    neighbors = nearest_neighbors(train_features, queries=features, max_memory=max_memory)
    nearest = train_labels[neighbors.indices[:, 0]]
    return _mean(nearest == labels.to(nearest.device))


def center_separation_index(
    features: Tensor,
    labels: Tensor,
    *,
    max_memory: int = DEFAULT_MEMORY,
    layer: str | None = None,
) -> float:
    """Share of samples that lie nearest to their own class's mean (CSI).

    Arguments and errors are those of :func:`measure`. A sample counts in its own mean; of equally
    near means that of the lowest label is taken.
    """
    features, labels = check_samples(features, labels, layer)
    classes, position = labels.unique(return_inverse=True)
    centers = class_centers(features, position, len(classes), max_memory)
    nearest = nearest_neighbors(centers, queries=features, max_memory=max_memory)
    return _mean(nearest.indices[:, 0] == position)


@hookimpl
def separation_indices() -> dict[str, Callable[..., float]]:
    """Give the indices of this module that are one number a layer to the plugin manager."""
    return {one.__name__: one for one in (separation_index, center_separation_index)}


def wilson_interval(share: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share of ``count`` trials."""
    if count < 1 or not 0 < confidence < 1:
        raise SeparationError(
            f'A Wilson interval needs trials and a confidence in (0, 1), got {count}, {confidence}.'
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    center = share + z * z / (2 * count)
    radius = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    # The ends are exactly 0 and 1 for shares of 0 and 1; rounding must not cross them.
    low = 0.0 if share == 0 else (center - radius) / scale
    high = 1.0 if share == 1 else (center + radius) / scale
    return max(0.0, low), min(1.0, high)


def chance_level(labels: Tensor, groups: Tensor | None = None) -> float:
    """Expected separation index if every sample drew its neighbour at random.

    Args:
        labels: Integers of shape (num_samples,).
        groups: Integers of shape (num_samples,); samples of the own group are not drawn.

    Returns:
        The mean over samples of the share of friends among the admitted neighbours.
    """
    classes = labels.unique(return_inverse=True)[1]
    if groups is None:
        groups = torch.arange(len(labels), device=labels.device)
    members = groups.to(labels.device).unique(return_inverse=True)[1]
    pairs = members * (int(classes.max()) + 1) + classes
    pairs = pairs.unique(return_inverse=True)[1]
    friends = classes.bincount()[classes] - pairs.bincount()[pairs]
    others = len(labels) - members.bincount()[members]
    return float((friends.double() / others.clamp(min=1)).mean())


def check_samples(
    features: Tensor, labels: Tensor, layer: str | None = None, minimum: int = 2
) -> tuple[Tensor, Tensor]:
    """Return flattened features and labels on one device, or say what is wrong with them."""
    where = _where(layer)
    features = torch.as_tensor(features)
    labels = torch.as_tensor(labels, device=features.device)
    if features.ndim < 2 or labels.ndim != 1 or len(features) != len(labels):
        raise SeparationError(
            'Expected features of shape (num_samples, ...) and labels of shape (num_samples,)'
            f'{where}, got {tuple(features.shape)} and {tuple(labels.shape)}.'
        )
    if len(features) < minimum:
        raise SeparationError(
            f'A separation index needs at least {minimum} samples{where}, got {len(features)}.'
        )
    if labels.is_floating_point() or labels.is_complex():
        raise SeparationError(f'Labels must be integers{where}, got {labels.dtype}.')
    features = features.detach().flatten(1)
    if features.shape[1] == 0:
        raise SeparationError(f'The features are empty{where}: {tuple(features.shape)}.')
    refuse_nonfinite(count_nonfinite(features), len(features), layer)
    return features, labels.long()


def count_nonfinite(features: Tensor) -> int:
    """How many samples hold a NaN or infinite value."""
    if not features.is_floating_point():
        return 0
    return sum(int((~part.isfinite()).any(1).sum()) for part in features.split(256))


def refuse_nonfinite(bad: int, total: int, layer: str | None) -> None:
    """Raise if ``bad`` of ``total`` samples are not finite."""
    if bad:
        raise SeparationError(
            f'{bad} of {total} samples hold NaN or infinite features{_where(layer)}. '
            'Has training diverged, or did float16 overflow? Lower the learning rate or '
            'measure in float32.'
        )


def _where(layer: str | None) -> str:
    return f' in layer {layer!r}' if layer else ''


def _mean(values: Tensor) -> float:
    """Mean of booleans as an exactly rounded quotient, equal on every device."""
    return int(values.sum()) / values.numel()
