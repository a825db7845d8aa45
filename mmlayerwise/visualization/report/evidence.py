"""What a layer does with single samples: a projection, and pairs of nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmlayerwise.separation.distributed import gather_objects
from mmlayerwise.separation.indices import Separation
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.observers import MeterObserver, Place, places_of
from mmlayerwise.separation.samples import Candidates, Extracted, balanced_order

# Samples of a layer that are projected and looked up; the same ones in every layer.
MAX_POINTS = 400
# Pairs of each kind (agreeing, disagreeing) that a layer shows; fewer where there are many layers.
MAX_PAIRS = 6
MIN_PAIRS = 2
# Pictures of all layers together, if no sample were shown twice.
PICTURE_BUDGET = 1200

# Id of a sample, id of its neighbour, their labels, and the distance.
SamplePair = tuple[int, int, int, int, float]


@dataclass
class Evidence:
    """Samples of one layer, known by their ids.

    Attributes:
        ids: int64 of shape (num_points,), the most important first.
        labels: int64 of shape (num_points,).
        points: float64 of shape (num_points, 2): principal components.
        explained: Shares of the variance along the two.
        pairs: Samples and their nearest neighbours, agreeing ones first.
    """

    ids: Tensor
    labels: Tensor
    points: Tensor
    explained: tuple[float, float]
    pairs: list[SamplePair]


@dataclass
class EvidenceCollection:
    """Evidence of all layers and where the samples are from, by id."""

    layers: dict[str, Evidence] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)


class EvidenceObserver(MeterObserver):
    """Keeps what single samples look like in each layer: a few hundred numbers a layer."""

    def __init__(self) -> None:
        self._evidence = EvidenceCollection()

    def on_selection(self, candidates: Sequence[Candidates], kept: Tensor) -> None:
        """Remember where the compared samples are from."""
        self._evidence = EvidenceCollection(places=places_of(candidates, kept))

    def on_layer(self, layer: Layer, samples: Extracted, found: Separation) -> None:
        """Keep a projection and pairs."""
        places = self._evidence.places
        priorities = torch.tensor([places[one].priority for one in samples.ids.tolist()])
        self._evidence.layers[layer.name] = look_closer(samples, found, priorities)

    def evidence(self) -> EvidenceCollection:
        """What was kept at the last measurement, of all processes."""
        for other in gather_objects(self._evidence.layers):
            self._evidence.layers.update(other)
        for layer in self._evidence.layers.values():
            layer.pairs = first_pairs(layer.pairs, pairs_per_layer(len(self._evidence.layers)))
        return self._evidence


def pairs_per_layer(num_layers: int) -> int:
    """How many pairs of each kind fit the budget of pictures."""
    return min(MAX_PAIRS, max(MIN_PAIRS, PICTURE_BUDGET // (4 * max(1, num_layers))))


def first_pairs(pairs: Sequence[SamplePair], count: int) -> list[SamplePair]:
    """The first ``count`` agreeing pairs and the first ``count`` disagreeing ones.

    Two samples that are each other's neighbours are one pair.
    """
    different = {frozenset(pair[:2]): pair for pair in reversed(pairs)}
    ordered = [pair for pair in pairs if different[frozenset(pair[:2])] is pair]
    agreeing = [pair for pair in ordered if pair[2] == pair[3]]
    disagreeing = [pair for pair in ordered if pair[2] != pair[3]]
    return agreeing[:count] + disagreeing[:count]


def look_closer(
    samples: Extracted,
    found: Separation,
    priorities: Tensor,
    *,
    num_pairs: int = MAX_PAIRS,
    max_points: int = MAX_POINTS,
) -> Evidence:
    """Project some samples of a layer and pair them with their nearest neighbours.

    Args:
        samples: The layer's vectors.
        found: Their nearest neighbours.
        priorities: Numbers of shape (num_samples,); the lowest are shown first. Numbers that depend
            on the sample alone let every layer show the same samples.
        num_pairs: How many agreeing and how many disagreeing pairs to return, at most.
        max_points: How many samples to look at, balanced over the classes.

    Returns:
        The samples in the order of their priorities.
    """
    labels, ids = samples.labels.cpu(), samples.ids.cpu()
    rows = balanced_order(labels, priorities)[:max_points]
    rows = rows[priorities[rows].argsort(stable=True)]
    points, explained = principal_components(samples.features[rows.to(samples.features.device)])
    neighbors = found.neighbors.indices[:, 0].cpu()[rows]
    distances = found.neighbors.distances[:, 0].cpu()[rows]
    columns = ids[rows], ids[neighbors], labels[rows], labels[neighbors], distances
    pairs = list(zip(*(column.tolist() for column in columns), strict=True))
    shown = first_pairs(pairs, num_pairs)
    return Evidence(ids[rows], labels[rows], points.cpu(), explained, shown)


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
