"""Weighted sums of the rows of a table: the core of the operators that sample a feature map.

A feature map laid out channels last is a table whose rows are its pixels. Sampling it at N points
means N weighted sums of a few of its rows each; the gradients are the transpose of that sum (for
the map) and products of rows (for the weights). :func:`torch.nn.functional.embedding_bag` computes
such sums without storing the gathered rows, on the CPU and on CUDA.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BilinearTaps(NamedTuple):
    """The four pixels around each sampling point, as tensors of shape (..., 4).

    Attributes:
        cells: Index ``row * width + column`` of each pixel, int64; always within the map.
        weights: Weight of each pixel; zero for a pixel outside the map.
        y_slopes: Derivative of each weight with respect to the point's y.
        x_slopes: Derivative of each weight with respect to the point's x.
    """

    cells: Tensor
    weights: Tensor
    y_slopes: Tensor
    x_slopes: Tensor


def bilinear_taps(y: Tensor, x: Tensor, height: int, width: int) -> BilinearTaps:
    """Find the pixels and weights that interpolate a map surrounded by zeros.

    A point at or beyond (-1, height) or (-1, width), or one that is not a number, has weights and
    slopes of zero.

    Args:
        y: Vertical positions in pixels (..., ), 0 at the centre of the first row.
        x: Horizontal positions in pixels, of the same shape.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        The taps of every point.
    """
    inside = (y > -1) & (y < height) & (x > -1) & (x < width)
    rows, row_weights, row_slopes = _axis_taps(y, inside, height)
    columns, column_weights, column_slopes = _axis_taps(x, inside, width)
    return BilinearTaps(
        _outer(rows * width, columns, torch.add),
        _outer(row_weights, column_weights, torch.mul),
        _outer(row_slopes, column_weights, torch.mul),
        _outer(row_weights, column_slopes, torch.mul),
    )


def _axis_taps(position: Tensor, inside: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two neighbours of each position on one axis, their weights and slopes (..., 2)."""
    position = position.where(inside, 0)
    low = position.floor()
    fraction = position - low
    neighbors = torch.stack([low, low + 1], -1).long()
    present = inside.unsqueeze(-1) & (neighbors >= 0) & (neighbors < size)
    weights = torch.stack([1 - fraction, fraction], -1) * present
    slopes = position.new_tensor([-1, 1]) * present
    return neighbors.clamp(0, max(size - 1, 0)), weights, slopes


def _outer(rows: Tensor, columns: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine (..., 2) with (..., 2) into (..., 4), the column running fastest."""
    return operation(rows.unsqueeze(-1), columns.unsqueeze(-2)).flatten(-2)


def gather_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted rows of a table: ``sum_t weights[n, t] * table[rows[n, t]]``.

    Args:
        table: Values (R, C).
        rows: Row numbers (N, T), int64.
        weights: Weights (N, T), of the table's dtype.

    Returns:
        Sums (N, C).
    """
    if rows.numel() == 0 or table.numel() == 0:
        return table.new_zeros(rows.shape[0], table.shape[1])
    return F.embedding_bag(rows, table, mode='sum', per_sample_weights=weights)


def scatter_rows(values: Tensor, rows: Tensor, weights: Tensor, num_rows: int) -> Tensor:
    """Transpose of :func:`gather_rows`: add ``weights[n, t] * values[n]`` to row ``rows[n, t]``.

    Contributions are sorted by row and summed in that order, so the result is deterministic.

    Args:
        values: Values (N, C).
        rows: Row numbers (N, T), int64.
        weights: Weights (N, T), of the dtype of ``values``.
        num_rows: Rows R of the result.

    Returns:
        Table (R, C).
    """
    if rows.numel() == 0 or values.numel() == 0:
        return values.new_zeros(num_rows, values.shape[1])
    sorted_rows, order = rows.flatten().sort(stable=True)
    starts = torch.searchsorted(sorted_rows, torch.arange(num_rows, device=rows.device))
    return F.embedding_bag(
        order // rows.shape[1],
        values,
        starts,
        mode='sum',
        per_sample_weights=weights.flatten()[order],
    )


def row_products(values: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Inner products ``<values[n], table[rows[n, t]]>``: the gradient of the weights of a gather.

    Args:
        values: Values (N, C).
        table: Values (R, C).
        rows: Row numbers (N, T), int64.

    Returns:
        Products (N, T).
    """
    if rows.numel() == 0 or table.numel() == 0:
        return values.new_zeros(rows.shape)
    weights = values.new_zeros(rows.shape).requires_grad_()
    with (
        torch.enable_grad()
    ):  # the products are the sum's gradient, computed without a copy of rows
        sums = F.embedding_bag(rows, table.detach(), mode='sum', per_sample_weights=weights)
    return torch.autograd.grad(sums, weights, values.detach())[0]


def balanced_slices(length: int, largest: int) -> list[slice]:
    """Cut ``range(length)`` into the fewest slices of near equal size, none above ``largest``."""
    count = -(-length // max(largest, 1))
    bounds = [length * index // count for index in range(count + 1)] if count else []
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def pixel_rows(image: Tensor, groups: int = 1) -> Tensor:
    """Lay a map out as a table: (C, H, W) to (H * W * groups, C / groups), the group fastest."""
    channels = image.shape[0]
    return image.permute(1, 2, 0).reshape(-1, channels // groups)
