"""Samples of all layers, gathered from batches and processes."""

import torch
from torch import Tensor

from mmlayerwise.separation.distributed import gather_objects, gather_rows
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.samples import Candidates, Extracted


class Collection:
    """Samples of all layers, as the batches bring them."""

    def __init__(self) -> None:
        self.candidates: list[Candidates] = []
        self.parts: dict[str, list[Extracted]] = {}

    def add(self, layer: str, part: Extracted) -> None:
        """Keep what one batch gives for a layer."""
        known = self.parts.setdefault(layer, [])
        if known and known[0].features.shape[1] != part.features.shape[1]:
            raise SeparationError(
                f'Layer {layer!r} gives vectors of {known[0].features.shape[1]} and of '
                f'{part.features.shape[1]} values: the images differ in size. Pool the maps to a '
                "grid, samples=dict(type='ImageSamples', pool=4), or resize the images."
            )
        part.features = part.features.cpu()
        known.append(part)

    def gather(self, layer: str, kept: Tensor) -> Extracted | None:
        """A layer's kept samples of all processes, ordered by id, each place of the layer once."""
        parts = self.parts.pop(layer, [])

        def column(name: str) -> Tensor | None:
            return torch.cat([getattr(part, name) for part in parts]) if parts else None

        ids = column('ids')
        mine = None if ids is None else torch.isin(ids, kept)

        def rows(name: str) -> Tensor | None:
            return gather_rows(None if ids is None else column(name)[mine])

        features, labels, ids = rows('features'), rows('labels'), rows('ids')
        with_cells = any(gather_objects(bool(parts) and parts[0].cells is not None))
        cells = rows('cells') if with_cells else None
        if ids is None or not len(ids):
            return None
        order = ids.argsort()
        if cells is not None:
            order = order[_first_of_each(cells[order])]
        return Extracted(features[order], labels[order], ids[order])


def _first_of_each(values: Tensor) -> Tensor:
    """Positions of the first occurrence of every value, ascending."""
    order = values.argsort(stable=True)
    ordered = values[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first].sort().values
