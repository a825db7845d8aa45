"""Samples of all layers, as the batches of one process bring them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.reservoir import BalancedReservoir
from mmlayerwise.separation.samples import Candidates, Extracted


class Collection:
    """The vectors of at most so many samples of every layer, chosen while they come.

    A sample is forgotten when better balanced ones displace it, so that the memory does not grow
    with the data: at most twice ``max_samples`` vectors a layer are held at a time.

    Args:
        max_samples: How many samples to choose, balanced over the classes.
        shorten: Makes short vectors of long ones, see :class:`FeatureBudget`.

    Attributes:
        reservoir: The samples chosen so far.
        candidates: What the images that they are from offered.
        dimensions: Length of a layer's vectors before they were shortened, by its name.
    """

    def __init__(self, max_samples: int, shorten: Callable[[Tensor], Tensor]) -> None:
        self.reservoir = BalancedReservoir(max_samples)
        self.shorten = shorten
        self.candidates: list[Candidates] = []
        self.dimensions: dict[str, int] = {}
        self._parts: dict[str, list[Extracted]] = {}
        self._wanted = torch.zeros(0, dtype=torch.int64)
        self._held = 0

    def offer(self, images: Sequence[Candidates]) -> bool:
        """Choose among the samples of the next batch.

        Args:
            images: What its images offer; at least one image.

        Returns:
            Whether a layer has to be read for any of them.
        """
        columns = zip(*((one.ids, one.labels, one.priorities) for one in images), strict=True)
        self._wanted = self.reservoir.offer(*map(torch.cat, columns))
        if not len(self._wanted):
            return False
        self._held += len(self._wanted)
        if self._held > 2 * self.reservoir.size:
            self._forget()
        self.candidates += [one for one in images if torch.isin(one.ids, self._wanted).any()]
        return True

    def add(self, layer: str, part: Extracted) -> None:
        """Keep what a layer gives for the chosen samples of the batch offered last."""
        dimension = part.features.shape[1]
        known = self.dimensions.setdefault(layer, dimension)
        if known != dimension:
            raise SeparationError(
                f'Layer {layer!r} gives vectors of {known} and of {dimension} values: the images '
                "differ in size. Pool the maps to a grid, samples=dict(type='ImageSamples', "
                'pool=4), or resize the images.'
            )
        part = _rows(part, torch.isin(part.ids, self._wanted))
        part.features = self.shorten(part.features).cpu()
        self._parts.setdefault(layer, []).append(part)

    def take(self, layer: str, kept: Tensor) -> Extracted | None:
        """Hand over a layer's kept samples, ordered by id, each place of the layer once.

        Args:
            layer: Name of the layer.
            kept: int64 of shape (num_kept,): ids of the samples of all processes that are compared.
        """
        parts = self._parts.pop(layer, None)
        if parts is None:
            return None
        part = _joined(parts)
        order = part.ids.argsort()
        order = order[torch.isin(part.ids[order], kept)]
        if part.cells is not None:
            order = order[_first_of_each(part.cells[order])]
        return _rows(part, order)

    def _forget(self) -> None:
        """Drop what has been displaced."""
        for layer, parts in self._parts.items():
            part = _joined(parts)
            self._parts[layer] = [_rows(part, torch.isin(part.ids, self.reservoir.ids))]
        self.candidates = [
            one for one in self.candidates if torch.isin(one.ids, self.reservoir.ids).any()
        ]
        self._held = len(self.reservoir.ids)


def _joined(parts: Sequence[Extracted]) -> Extracted:
    def column(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    return Extracted(*map(column, ('features', 'labels', 'ids', 'cells')))


def _rows(part: Extracted, rows: Tensor) -> Extracted:
    cells = None if part.cells is None else part.cells[rows]
    features = part.features[rows.to(part.features.device)]
    return Extracted(features, part.labels[rows], part.ids[rows], cells)


def _first_of_each(values: Tensor) -> Tensor:
    """Positions of the first occurrence of every value, ascending."""
    order = values.argsort(stable=True)
    ordered = values[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first].sort().values
