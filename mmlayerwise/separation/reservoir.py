"""Choosing class-balanced samples in one pass, in memory for the chosen ones only."""

import torch
from torch import Tensor

from mmlayerwise.separation.distributed import gather_rows
from mmlayerwise.separation.samples import select_balanced


class BalancedReservoir:
    """The samples that :func:`select_balanced` would choose of all that were offered.

    Samples come with a random priority each, which depends on nothing but the sample. More samples
    never move one forward in the balanced order: a sample that is not among the first ``size`` of a
    part is not among the first ``size`` of the whole. So whatever drops out may be forgotten, and
    the reservoirs of several processes together hold what one would hold that saw everything.

    Args:
        size: How many samples to choose.

    Attributes:
        ids: int64 of shape (num_chosen,), ascending.
        labels: int64 of shape (num_chosen,).
        priorities: float64 of shape (num_chosen,).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.ids = torch.zeros(0, dtype=torch.int64)
        self.labels = torch.zeros(0, dtype=torch.int64)
        self.priorities = torch.zeros(0, dtype=torch.float64)

    def offer(self, ids: Tensor, labels: Tensor, priorities: Tensor) -> Tensor:
        """Let samples in, and out what they displace.

        Args:
            ids: int64 of shape (num_samples,); a known one is the known sample.
            labels: int64 of shape (num_samples,).
            priorities: Numbers in [0, 1) of shape (num_samples,); the lowest are taken first.

        Returns:
            int64: ids of the newly offered samples that are chosen as of now.
        """
        new = ~torch.isin(ids, self.ids)
        offered = ids[new]
        self._choose(
            torch.cat([self.ids, offered]),
            torch.cat([self.labels, labels[new].long()]),
            torch.cat([self.priorities, priorities[new].double()]),
        )
        return offered[torch.isin(offered, self.ids)]

    def merged(self) -> 'BalancedReservoir':
        """The reservoir of all processes together, on every process."""
        whole = BalancedReservoir(self.size)
        ids, first = _unique(gather_rows(self.ids))
        whole._choose(ids, gather_rows(self.labels)[first], gather_rows(self.priorities)[first])
        return whole

    def _choose(self, ids: Tensor, labels: Tensor, priorities: Tensor) -> None:
        ids, order = ids.sort()
        labels, priorities = labels[order], priorities[order]
        if len(ids) > self.size:
            kept = select_balanced(labels, priorities, self.size)
            ids, labels, priorities = ids[kept], labels[kept], priorities[kept]
        self.ids, self.labels, self.priorities = ids, labels, priorities


def _unique(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Ids without repetition and a row where each is found."""
    ordered, order = ids.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], order[first]
