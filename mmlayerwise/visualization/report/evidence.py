"""What a layer does with single samples: a projection, and pairs of nearest neighbours."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmlayerwise.separation.distributed import gather_objects
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.meter import SeparationMeter
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY, nearest_neighbors
from mmlayerwise.separation.profile import LayerSeparation
from mmlayerwise.separation.samples import Candidates, Extracted, balanced_order

# Samples of a layer that are projected and looked up; the same ones in every layer.
MAX_POINTS = 400
# Pairs of each kind (agreeing, disagreeing) that a layer shows; fewer where there are many layers.
MAX_PAIRS = 6
MIN_PAIRS = 2
# Pictures of all layers together, if no sample were shown twice.
PICTURE_BUDGET = 1200


@dataclass
class Evidence:
    """Samples of one layer, known by their ids.

    Attributes:
        ids: int64 of shape (num_points,), the most important first.
        labels: int64 of shape (num_points,).
        points: float64 of shape (num_points, 2): principal components.
        explained: Shares of the variance along the two.
        pairs: (id, neighbour's id, label, neighbour's label, distance), agreeing ones first.
    """

    ids: Tensor
    labels: Tensor
    points: Tensor
    explained: tuple[float, float]
    pairs: list[tuple[int, int, int, int, float]]


@dataclass
class Place:
    """Where a sample was taken from.

    Attributes:
        image: Number of the image.
        box: The sampler's own: 4 numbers for a box, 2 for a pixel, none for an image.
        priority: Random number in [0, 1), the sampler's.
    """

    image: int
    box: list[float]
    priority: float


@dataclass
class EvidenceCollection:
    """Evidence of all layers and where the samples are from, by id."""

    layers: dict[str, Evidence] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)


class EvidenceMeter(SeparationMeter):
    """A meter that also keeps what single samples look like in each layer.

    Memory beside the meter's own: a few hundred numbers a layer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._evidence = EvidenceCollection()

    def _balanced(self, candidates: list[Candidates]) -> Tensor:
        kept = super()._balanced(candidates)
        wanted = set(kept.tolist())
        for one in candidates:
            rows = zip(one.ids.tolist(), one.places.tolist(), one.priorities.tolist(), strict=True)
            for number, box, priority in rows:
                if number in wanted:
                    self._evidence.places[number] = Place(one.truth.image, box, priority)
        for other in gather_objects(self._evidence.places):
            self._evidence.places.update(other)
        return kept

    def _analyse_layer(
        self, layer: Layer, samples: Extracted | None, device: torch.device
    ) -> LayerSeparation:
        entry = super()._analyse_layer(layer, samples, device)
        if entry.error is None:
            ids = samples.ids.tolist()
            priorities = torch.tensor([self._evidence.places[one].priority for one in ids])
            self._evidence.layers[layer.name] = look_closer(
                Extracted(samples.features.to(device), samples.labels, samples.ids),
                priorities,
                num_pairs=pairs_per_layer(len(self.chosen)),
                exclude_same_image=self.sampler.exclude_same_image,
                max_memory=self.max_memory,
                backend=self.backend,
            )
        return entry

    def evidence(self) -> EvidenceCollection:
        """What was kept at the last measurement, of all processes."""
        for other in gather_objects(self._evidence.layers):
            self._evidence.layers.update(other)
        return self._evidence


def pairs_per_layer(num_layers: int) -> int:
    """How many pairs of each kind fit the budget of pictures."""
    return min(MAX_PAIRS, max(MIN_PAIRS, PICTURE_BUDGET // (4 * max(1, num_layers))))


def look_closer(
    samples: Extracted,
    priorities: Tensor,
    *,
    num_pairs: int = MAX_PAIRS,
    exclude_same_image: bool = False,
    max_points: int = MAX_POINTS,
    max_memory: int = DEFAULT_MEMORY,
    backend: str = 'exact',
) -> Evidence:
    """Project some samples of a layer and find their nearest neighbours among all of them.

    Args:
        samples: The layer's vectors.
        priorities: Numbers of shape (num_samples,); the lowest are shown first. Numbers that depend
            on the sample alone let every layer show the same samples.
        num_pairs: How many agreeing and how many disagreeing pairs to return, at most.
        exclude_same_image: Whether samples of one image are no neighbours of each other.
        max_points: How many samples to look at, balanced over the classes.
        max_memory: Bytes for the neighbour search.
        backend: Which implementation searches.

    Returns:
        The samples in the order of their priorities.
    """
    rows = balanced_order(samples.labels, priorities)[:max_points]
    rows = rows[priorities[rows].argsort(stable=True)]
    features = samples.features
    # Every sample is its own group where its image's others are admitted: it is not its neighbour.
    groups = (samples.images if exclude_same_image else samples.ids).to(features.device)
    found = nearest_neighbors(
        features,
        queries=features[rows.to(features.device)],
        groups=groups,
        query_groups=groups[rows.to(features.device)],
        max_memory=max_memory,
        backend=backend,
    )
    neighbors, distances = found.indices[:, 0].cpu(), found.distances[:, 0].cpu()
    points, explained = principal_components(features[rows.to(features.device)].cpu())
    labels = samples.labels[rows]
    agreeing = samples.labels[neighbors] == labels
    chosen = torch.cat([agreeing.nonzero()[:num_pairs], (~agreeing).nonzero()[:num_pairs]])
    pairs = [
        (
            int(samples.ids[rows[k]]),
            int(samples.ids[neighbors[k]]),
            int(labels[k]),
            int(samples.labels[neighbors[k]]),
            float(distances[k]),
        )
        for k in chosen.flatten().tolist()
    ]
    return Evidence(samples.ids[rows], labels, points, explained, pairs)


def principal_components(features: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """First two principal components, by the eigenvectors of the samples' inner products.

    Args:
        features: Floats of shape (num_samples, dimension); any dimension, few samples.

    Returns:
        float64 of shape (num_samples, 2), zero where the samples span less, and the shares of the
        variance. The value of largest magnitude along an axis is positive, so that equal features
        always give equal pictures.
    """
    centered = features.double()
    centered = centered - centered.mean(0)
    values, vectors = torch.linalg.eigh(centered @ centered.T)
    values, vectors = values.flip(0).clamp(min=0)[:2], vectors.flip(1)[:, :2]
    total = float(centered.square().sum())
    points = features.new_zeros((len(features), 2), dtype=torch.float64)
    if total == 0:
        return points, (0.0, 0.0)
    found = vectors * values.sqrt()
    largest = found.gather(0, found.abs().argmax(0, keepdim=True))
    points[:, : found.shape[1]] = found * torch.where(largest < 0, -1.0, 1.0)
    shares = [float(value) / total for value in values] + [0.0]
    return points, (shares[0], shares[1])
