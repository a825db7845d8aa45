"""Seeing single samples while a meter measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from mmlayerwise.plugins import installed_plugins
from mmlayerwise.separation.distributed import gather_objects
from mmlayerwise.separation.profile import SeparationProfile
from mmlayerwise.separation.samples import Candidates, Extracted

if TYPE_CHECKING:
    from mmlayerwise.separation.indices import Separation
    from mmlayerwise.separation.layers import Layer


class MeterObserver:
    """Base of what looks on while a :class:`SeparationMeter` measures; override what is needed.

    With ``torch.distributed`` every process has an observer of its own: each sees the samples of
    its own data and the layers that it analyses.
    """

    def on_selection(self, candidates: Sequence[Candidates], kept: Tensor) -> None:
        """Take notice of which samples are compared, once per measurement and before the layers.

        Args:
            candidates: What the images of this process offered.
            kept: int64 of shape (num_kept,): ids of the samples to compare, of all processes.
        """

    def on_layer(self, layer: 'Layer', samples: Extracted, found: 'Separation') -> None:
        """Take notice of a measured layer; one that could not be measured is not shown.

        Args:
            layer: The layer.
            samples: Its vectors, ordered by the samples' ids, on the device of the model.
            found: Each sample's nearest neighbours and whether they are friends.
        """


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


class LayerKeeper(MeterObserver):
    """Keeps the samples of one layer, the last one that was measured in this process.

    Attributes:
        places: Where the compared samples are from, by their ids.
        samples: The layer's vectors.
        found: Their nearest neighbours. Both are None until a layer was measured.
    """

    def __init__(self) -> None:
        self.places: dict[int, Place] = {}
        self.samples: Extracted | None = None
        self.found: Separation | None = None

    def on_selection(self, candidates: Sequence[Candidates], kept: Tensor) -> None:  # noqa: D102
        self.places = places_of(candidates, kept)
        self.samples = self.found = None

    def on_layer(self, layer: 'Layer', samples: Extracted, found: 'Separation') -> None:  # noqa: D102
        self.samples, self.found = samples, found


class IndexObserver(MeterObserver):
    """Measures layers by further indices: those that plugins give, and the built-in ones.

    They see features and labels alone, so that they compare samples of one image too.

    Args:
        names: Names under the hook ``separation_indices``.

    Raises:
        UserError: If nobody gives one of them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        plugins = installed_plugins()
        self._indices = {name: plugins.look_up('separation_indices', name) for name in names}
        self._values: dict[str, dict[str, float]] = {}

    def on_selection(self, candidates: Sequence[Candidates], kept: Tensor) -> None:  # noqa: D102
        self._values = {}

    def on_layer(self, layer: 'Layer', samples: Extracted, found: 'Separation') -> None:  # noqa: D102
        self._values[layer.name] = {
            name: float(index(samples.features, samples.labels))
            for name, index in self._indices.items()
        }

    def fill(self, profile: SeparationProfile) -> None:
        """Write what all processes found into the profile of the same measurement."""
        for values in gather_objects(self._values):
            for name, found in values.items():
                profile[name].indices = found


def places_of(candidates: Sequence[Candidates], kept: Tensor) -> dict[int, Place]:
    """Say where the samples of all processes that are compared were taken from, by their ids.

    Args:
        candidates: What the images of this process offered.
        kept: int64 of shape (num_kept,): ids of the samples to compare, of all processes.
    """
    wanted = set(kept.tolist())
    places = {}
    for one in candidates:
        rows = zip(one.ids.tolist(), one.places.tolist(), one.priorities.tolist(), strict=True)
        for number, box, priority in rows:
            if number in wanted:
                places[number] = Place(one.truth.image, box, priority)
    for other in gather_objects(places):
        places.update(other)
    return places
