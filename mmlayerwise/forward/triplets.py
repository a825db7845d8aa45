"""Nearest friends and enemies, and what they say about the features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.separation import nearest_neighbors
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY


@dataclass(frozen=True)
class Triplets:
    """Every sample with its nearest friend and its nearest enemy.

    Attributes:
        friends: int64 of shape (num_samples,).
        enemies: int64 of shape (num_samples,).
        separation_index: Share of samples whose friend is nearer than their enemy; of two equally
            near the one with the lower number counts, as in :func:`nearest_neighbors`.
    """

    friends: Tensor
    enemies: Tensor
    separation_index: float


def find_triplets(
    features: Tensor,
    labels: Tensor,
    sources: Tensor | None = None,
    *,
    max_memory: int = DEFAULT_MEMORY,
    backend: str = 'exact',
) -> Triplets:
    """Find the nearest sample of the same and of another label for every sample.

    Args:
        features: Float tensor of shape (num_samples, dimension).
        labels: int64 of shape (num_samples,).
        sources: int64 of shape (num_samples,): samples of one source (crops of one image) are no
            neighbours of each other.
        max_memory: Bytes for the search.
        backend: Which implementation searches.

    Returns:
        The triplets.

    Raises:
        ForwardLearningError: If a sample has no friend or no enemy, see :func:`usable_samples`.
    """
    options = dict(max_memory=max_memory, backend=backend)
    friends = torch.full_like(labels, -1)
    enemies = torch.full_like(labels, -1)
    near, far = (features.new_zeros(len(labels), dtype=torch.float64) for _ in range(2))
    for label in labels.unique():
        rows, others = (labels == label).nonzero()[:, 0], (labels != label).nonzero()[:, 0]
        own = features[rows]
        groups = None if sources is None else sources[rows]
        found = nearest_neighbors(own, 1, groups=groups, **options)
        _store(found, rows, rows, friends, near)
        if sources is not None:
            found = nearest_neighbors(
                features[others],
                1,
                queries=own,
                groups=sources[others],
                query_groups=groups,
                **options,
            )
            _store(found, rows, others, enemies, far)
    if sources is None:
        everyone = torch.arange(len(labels), device=labels.device)
        found = nearest_neighbors(features, 1, groups=labels, **options)
        _store(found, everyone, everyone, enemies, far)
    if int(friends.min()) < 0 or int(enemies.min()) < 0:
        raise ForwardLearningError(
            'A sample has no other sample of its label, or none of another label, outside its own '
            'image.'
        )
    separated = (near < far) | ((near == far) & (friends < enemies))
    return Triplets(friends, enemies, int(separated.sum()) / len(labels))


def _store(found, rows: Tensor, points: Tensor, indices: Tensor, distances: Tensor) -> None:  # noqa: ANN001
    known = found.indices[:, 0] >= 0
    indices[rows[known]] = points[found.indices[known, 0]]
    distances[rows] = found.distances[:, 0]


def usable_samples(labels: Tensor, sources: Tensor | None = None) -> Tensor:
    """Find the samples that have a friend and an enemy outside their own source.

    Args:
        labels: int64 of shape (num_samples,).
        sources: As in :func:`find_triplets`.

    Returns:
        int64 row numbers, ascending.

    Raises:
        ForwardLearningError: If none are left.
    """
    sources = torch.arange(len(labels), device=labels.device) if sources is None else sources
    rows = torch.arange(len(labels), device=labels.device)
    while len(rows):
        kinds, sizes = labels[rows].unique(return_inverse=True)[1], len(rows)
        places = sources[rows].unique(return_inverse=True)[1]
        of_label, of_source = kinds.bincount()[kinds], places.bincount()[places]
        pair = kinds * (int(places.max()) + 1) + places
        pair = pair.unique(return_inverse=True)[1]
        of_both = pair.bincount()[pair]
        has_friend = of_label > of_both
        has_enemy = sizes - of_label > of_source - of_both
        if bool((has_friend & has_enemy).all()):
            return rows
        rows = rows[has_friend & has_enemy]
    found = labels.unique()
    raise ForwardLearningError(
        f'{len(labels)} samples of {len(found)} classes (labels {found[:10].tolist()}) leave no '
        'sample with another one of its class and one of another class in other images. At least '
        'two classes with two samples each are needed: give more samples or check the labels.'
    )
