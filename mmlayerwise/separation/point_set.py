"""Samples seen through a growing set of features: distances, and bounds of them by products."""

import torch
from torch import Tensor


class PointSet:
    """Samples seen through some features, with bounds of their distances from matrix products.

    Args:
        values: Scaled positions of the features, float32 or float64 of shape (num_samples, size).
        groups: Integers of shape (num_samples,) or None: no neighbours within a group.
    """

    def __init__(self, values: Tensor, groups: Tensor | None) -> None:
        self.values = values[:, :0]
        self.groups = groups
        self.centred = self.values.float()
        self.norms = values.new_zeros(len(values), dtype=torch.float64)
        self.add(values)

    def add(self, values: Tensor) -> None:
        """Append a feature's positions."""
        # Products cancel less near the mean; distances are taken of the values as they are.
        centred = (values.double() - values.double().mean(0)).float()
        self.values = torch.cat([self.values, values], 1)
        self.centred = torch.cat([self.centred, centred], 1)
        self.norms = self.norms + centred.double().square().sum(1)

    @property
    def error(self) -> float:
        """Bound c with |product - true squared distance| <= c (|x|^2 + |y|^2), all roundings in."""
        return 1.05 * (self.centred.shape[1] + 16) * torch.finfo(torch.float32).eps / 2

    def lower_bounds(self, rows: Tensor) -> Tensor:
        """Lower bounds of the squared distances *less the row's own norm*: float32 (rows, samples).

        Infinite for the row itself and its group.
        """
        norms = (self.norms * (1 - self.error)).float()
        bound = torch.addmm(norms, self.centred[rows], self.centred.T, alpha=-2)
        bound[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        if self.groups is not None:
            bound.masked_fill_(self.groups[rows, None] == self.groups, torch.inf)
        return bound

    def row_norms(self, rows: Tensor) -> Tensor:
        """What :meth:`lower_bounds` leaves out, as a lower bound: float64 (rows, 1)."""
        # The last terms cover what underflows in float32.
        return self.norms[rows, None] * (1 - self.error) - self.values.shape[1] * 2.0**-120

    def distances(self, rows: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
        """Squared distances, differences in ``dtype``, sums in float64: (rows, columns)."""
        others, own = self.values[columns].to(dtype), self.values[rows, None].to(dtype)
        distance = (others - own).square_().sum(2, dtype=torch.float64)
        excluded = columns == rows[:, None]
        if self.groups is not None:
            excluded |= self.groups[columns] == self.groups[rows, None]
        return distance.masked_fill_(excluded, torch.inf)
