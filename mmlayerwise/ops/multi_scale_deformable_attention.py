"""Multi-scale deformable attention under mmcv's calling conventions.

Every query sums, per head, the values at a few points of every level, interpolated bilinearly with
zeros around the level and weighted by attention (Zhu et al., "Deformable DETR", ICLR 2021, Eq. 3).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.precision import upcast
from mmlayerwise.ops.sampling import (
    BilinearTaps,
    balanced_slices,
    bilinear_taps,
    gather_rows,
    row_products,
    scatter_rows,
)

# Largest number of pixels looked up at once: some 200 MiB with their indices and slopes.
_MAX_TAPS = 2**22


class _Band(NamedTuple):
    """The sampling points of a band of one image's queries."""

    queries: slice
    rows: Tensor  # rows of the value table, (queries * heads, levels * points * 4)
    taps: BilinearTaps  # (queries, heads, levels, points, 4)


def _bands(spatial_shapes: Tensor, level_start_index: Tensor, locations: Tensor) -> Iterator[_Band]:
    """Locate the sampling points (Q, M, L, P, 2) of one image, a band of queries at a time."""
    num_queries, num_heads, num_levels, num_points, _ = locations.shape
    heads = torch.arange(num_heads, device=locations.device)[:, None, None]
    levels = list(zip(spatial_shapes.tolist(), level_start_index.tolist(), strict=True))
    largest = _MAX_TAPS // max(1, 4 * num_heads * num_levels * num_points)
    for queries in balanced_slices(num_queries, largest):
        rows, taps = [], []
        for level, ((height, width), start) in enumerate(levels):
            x, y = upcast(locations[queries, :, level]).unbind(-1)
            found = bilinear_taps(y * height - 0.5, x * width - 0.5, height, width)
            rows.append((found.cells + start) * num_heads + heads)
            taps.append(
                found._replace(y_slopes=found.y_slopes * height, x_slopes=found.x_slopes * width)
            )
        yield _Band(
            queries,
            _by_head(torch.stack(rows, 2)),
            BilinearTaps(*(torch.stack(part, 2) for part in zip(*taps, strict=True))),
        )


def _by_head(values: Tensor) -> Tensor:
    """Flatten (queries, heads, levels, points, 4) to (queries * heads, levels * points * 4)."""
    return values.flatten(2).flatten(0, 1)


def _table(value: Tensor) -> Tensor:
    """Lay one image's values (pixels, heads, channels) out as (pixels * heads, channels)."""
    return upcast(value).reshape(-1, value.shape[-1])


@implements('ms_deform_attn_forward')
def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Attend to a few points of every level.

    Args:
        value: Values of the pixels of all levels (N, S, M, D) for M heads.
        spatial_shapes: Height and width of each level (L, 2), int64.
        level_start_index: Index of each level's first pixel (L,), int64.
        sampling_locations: Points (N, Q, M, L, P, 2), x before y, in units of the level's size.
        attention_weights: Weights of the points (N, Q, M, L, P).
        im2col_step: Images the compiled operator takes at once; memory is bounded without it.

    Returns:
        Attended values (N, Q, M * D) of the dtype of ``value``.
    """
    batch, _, num_heads, head_channels = value.shape
    output = value.new_empty(batch, sampling_locations.shape[1], num_heads * head_channels)
    for index in range(batch):
        table = _table(value[index])
        for band in _bands(spatial_shapes, level_start_index, sampling_locations[index]):
            attention = upcast(attention_weights[index, band.queries])[..., None]
            sums = gather_rows(table, band.rows, _by_head(band.taps.weights * attention))
            output[index, band.queries] = sums.view(-1, num_heads * head_channels).to(output.dtype)
    return output


@implements('ms_deform_attn_backward')
def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Differentiate :func:`ms_deform_attn_forward`.

    Args:
        value: Values of the pixels of all levels (N, S, M, D).
        spatial_shapes: Height and width of each level (L, 2), int64.
        level_start_index: Index of each level's first pixel (L,), int64.
        sampling_locations: Points (N, Q, M, L, P, 2).
        attention_weights: Weights of the points (N, Q, M, L, P).
        grad_output: Gradient of the attended values (N, Q, M * D).
        grad_value: Receives the sum of itself and the gradient of ``value``.
        grad_sampling_loc: Receives the gradient of ``sampling_locations``.
        grad_attn_weight: Receives the gradient of ``attention_weights``.
        im2col_step: Unused, as in the forward pass.
    """
    for index in range(value.shape[0]):
        table = _table(value[index])
        grad_table = torch.zeros_like(table)
        for band in _bands(spatial_shapes, level_start_index, sampling_locations[index]):
            taps = band.taps
            attention = upcast(attention_weights[index, band.queries])[..., None]
            gradient = upcast(grad_output[index, band.queries]).reshape(-1, table.shape[1])
            weights = _by_head(taps.weights * attention)
            grad_table += scatter_rows(gradient, band.rows, weights, table.shape[0])
            products = row_products(gradient, table, band.rows).view(taps.weights.shape)
            slopes = torch.stack([taps.x_slopes, taps.y_slopes], -2)  # (..., 2, 4)
            grad_locations = (products.unsqueeze(-2) * slopes).sum(-1) * attention
            grad_sampling_loc[index, band.queries] = grad_locations.to(grad_sampling_loc.dtype)
            grad_attention = (products * taps.weights).sum(-1)
            grad_attn_weight[index, band.queries] = grad_attention.to(grad_attn_weight.dtype)
        grad_value[index] += grad_table.view(value.shape[1:]).to(grad_value.dtype)
