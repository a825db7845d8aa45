"""The samples of one layer, each process holding its own, measured as if one held all."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.separation.centers import class_centers
from mmlayerwise.separation.distributed import (
    gather_objects,
    gather_rows,
    raise_everywhere,
    sharded_neighbors,
    world,
)
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.indices import Separation, count_nonfinite, refuse_nonfinite, separate
from mmlayerwise.separation.neighbors import Neighbors, move_features, nearest_neighbors
from mmlayerwise.separation.samples import Extracted


@dataclass(frozen=True)
class SharedSamples:
    """Vectors of this process's samples, and what is known of those of all processes.

    Attributes:
        features: This process's vectors or their sketches, shape (num_own, length).
        numbers: int64 of shape (num_own,), ascending: their rows among all samples.
        labels: int64 of shape (num_samples,): classes of all samples, in the order of their ids.
        ids: int64 of shape (num_samples,), ascending: ids of all samples.
        dimension: Length of the vectors before they were sketched.
    """

    features: Tensor
    numbers: Tensor
    labels: Tensor
    ids: Tensor
    dimension: int

    @classmethod
    def of(
        cls, own: Extracted | None, dimension: int | None, device: torch.device
    ) -> 'SharedSamples | None':
        """Let the processes know of each other's samples; a collective call.

        Args:
            own: This process's samples, ordered by id; None where it has none.
            dimension: Length of their vectors before they were sketched.
            device: Where to compute; the vectors stay on the CPU if they don't fit.

        Returns:
            The same samples on every process; None if there are none.
        """
        known = gather_objects(own and (dimension, own.features[:0]))
        known = [one for one in known if one is not None]
        if not known:
            return None
        if own is None:
            nothing = torch.zeros(0, dtype=torch.int64)
            dimension, own = known[0][0], Extracted(known[0][1], nothing, nothing)
        own = _without_repeated(own)
        ids, labels = gather_rows(own.ids), gather_rows(own.labels)
        ids, order = ids.sort()
        features = move_features(own.features, device)
        on = features.device
        numbers = torch.searchsorted(ids, own.ids)
        return cls(features, numbers.to(on), labels[order].to(on), ids.to(on), dimension)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sketched(self) -> bool:
        """Whether the vectors are sketches."""
        return self.features.shape[1] != self.dimension

    @property
    def images(self) -> Tensor:
        """int64 of shape (num_samples,): number of each sample's image."""
        return Extracted(self.features, self.labels, self.ids).images

    def gather(self, rows: Tensor) -> Tensor:
        """Put the rows that the processes hold of their samples together, in the samples' order."""
        whole = gather_rows(rows)
        return whole[gather_rows(self.numbers).argsort()].to(rows.device)

    def whole(self) -> Extracted:
        """All samples with their vectors, on every process; memory for all of them."""
        return Extracted(self.gather(self.features), self.labels, self.ids)

    def measure(
        self,
        order: int,
        groups: Tensor | None,
        max_memory: int,
        backend: str = 'exact',
        layer: str | None = None,
    ) -> Separation:
        """Find every sample's neighbours; a collective call, see :func:`indices.measure`.

        Args:
            order: How many neighbours.
            groups: int64 of shape (num_samples,), or None.
            max_memory: Bytes for the search.
            backend: Which implementation searches.
            layer: Name used in error messages.
        """
        bad = sum(gather_objects(count_nonfinite(self.features)))
        refuse_nonfinite(bad, len(self), layer)
        found = sharded_neighbors(
            self.features,
            order,
            groups=None if groups is None else groups[self.numbers],
            numbers=self.numbers,
            max_memory=max_memory,
            backend=backend,
        )
        found = Neighbors(self.gather(found.indices), self.gather(found.distances))
        return separate(found, self.labels, groups, layer)

    def center_index(self, max_memory: int) -> float:
        """Share of samples nearest to their own class's mean; a collective call."""
        classes, members = self.labels.unique(return_inverse=True)
        own = members[self.numbers]
        centers = class_centers(self.features, own, len(classes), max_memory, shared=True)
        hits, failure = 0, None
        try:
            nearest = nearest_neighbors(centers, queries=self.features, max_memory=max_memory)
            hits = int((nearest.indices[:, 0] == own).sum())
        except SeparationError as error:
            failure = str(error)
        raise_everywhere(failure)
        return sum(gather_objects(hits)) / len(self)


def _without_repeated(own: Extracted) -> Extracted:
    """Leave out what a process of lower rank has too, as samplers that pad the shares give it."""
    earlier = gather_objects(own.ids)[: world()[0]]
    repeated = torch.isin(own.ids, torch.cat(earlier)) if earlier else torch.zeros(0)
    if not repeated.any():
        return own
    rows = ~repeated
    return Extracted(own.features[rows], own.labels[rows], own.ids[rows])
