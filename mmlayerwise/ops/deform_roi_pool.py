"""Deformable RoI pooling under mmcv's calling conventions.

RoIAlign whose bins are displaced by learned offsets, in fractions ``gamma`` of the region's size
(Dai et al., "Deformable Convolutional Networks", ICCV 2017, Eq. 5, with averaged bilinear samples
in place of quantised bins).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.precision import upcast
from mmlayerwise.ops.sampling import bilinear_taps, gather_rows, row_products, scatter_rows

# Largest number of samples located at once, unless a single region needs more.
_MAX_SAMPLES = 2**20


class _Samples(NamedTuple):
    """The samples of some regions: T pixels for each of their ``count * PH * PW`` bins."""

    regions: Tensor  # indices of the regions (count,)
    rows: Tensor  # rows of the table of all images' pixels (bins, T)
    weights: Tensor  # share of each pixel in its bin's average (bins, T)
    y_slopes: Tensor  # derivative of the weights by the bin's vertical offset (bins, T)
    x_slopes: Tensor  # and by its horizontal offset (bins, T)


def _table(input: Tensor) -> Tensor:
    """Lay all images (N, C, H, W) out as a table (N * H * W, C)."""
    return upcast(input).permute(0, 2, 3, 1).reshape(-1, input.shape[1])


def _bands(samples_per_region: Tensor) -> Iterator[Tensor]:
    """Group regions of similar numbers of samples, so that few are wasted on padding."""
    order = samples_per_region.argsort(descending=True)
    counts = samples_per_region[order].tolist()
    start = 0
    while start < len(counts):
        stop = start + max(1, _MAX_SAMPLES // max(1, counts[start]))
        yield order[start:stop]
        start = stop


def _samples(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> Iterator[_Samples]:
    """Locate the samples of all regions, some regions at a time."""
    rois = upcast(rois)
    start = rois[:, [2, 1]] * spatial_scale - 0.5  # (y, x)
    size = rois[:, [4, 3]] * spatial_scale - 0.5 - start
    bin_size = size / size.new_tensor([pooled_height, pooled_width])
    grid = bin_size.ceil().clamp(min=0) if sampling_ratio <= 0 else sampling_ratio
    grid = torch.zeros_like(bin_size, dtype=torch.long) + torch.as_tensor(grid).long()
    for regions in _bands(grid.prod(1) * pooled_height * pooled_width):
        yield _region_samples(
            *(input, offset, regions, rois[regions, 0].long()),
            *(start[regions], size[regions], bin_size[regions], grid[regions]),
            *((pooled_height, pooled_width), gamma),
        )


def _region_samples(
    input: Tensor,
    offset: Tensor,
    regions: Tensor,
    images: Tensor,
    start: Tensor,
    size: Tensor,
    bin_size: Tensor,
    grid: Tensor,
    pooled: tuple[int, int],
    gamma: float,
) -> _Samples:
    """Locate the samples of the given regions, padded to the same number with weights of zero."""
    sample_counts = grid.prod(1)
    sample = torch.arange(int(sample_counts.max()), device=input.device)
    present = (sample < sample_counts[:, None])[:, None, None]  # (region, 1, 1, samples)
    grid_columns = grid[:, 1, None].clamp(min=1)
    steps = (sample // grid_columns, sample % grid_columns)  # of each axis (region, samples)
    positions, slope_scales = [], []
    for axis, limit in enumerate(input.shape[2:]):
        bins = torch.arange(pooled[axis], device=input.device)
        bins = bins[:, None, None] if axis == 0 else bins[:, None]  # of (PH, PW, samples)
        step = (steps[axis] + 0.5) / grid[:, axis, None].clamp(min=1).to(start.dtype)
        extent = bin_size[:, axis, None, None, None]
        position = start[:, axis, None, None, None] + (bins + step[:, None, None]) * extent
        displacement = gamma * size[:, axis, None, None, None]
        if offset.numel():
            position = position + displacement * upcast(offset[regions, 1 - axis])[..., None]
        # RoIAlign: zero beyond one pixel outside the map, else constant beyond the outer pixels.
        present = present & (position >= -1) & (position <= limit)
        positions.append(position.clamp(0, limit - 1))
        slope_scales.append(displacement * ((position >= 0) & (position < limit - 1)))
    taps = bilinear_taps(*torch.broadcast_tensors(*positions), *input.shape[2:])
    share = present / sample_counts.clamp(min=1)[:, None, None, None].to(start.dtype)
    first_rows = images * (input.shape[2] * input.shape[3])
    return _Samples(
        regions,
        *(
            values.flatten(3).flatten(0, 2)
            for values in (
                taps.cells + first_rows[:, None, None, None, None],
                taps.weights * share[..., None],
                taps.y_slopes * (share * slope_scales[0])[..., None],
                taps.x_slopes * (share * slope_scales[1])[..., None],
            )
        ),
    )


@implements('deform_roi_pool_forward')
def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Pool regions into ``output``.

    Args:
        input: Feature maps (N, C, H, W).
        rois: Regions (K, 5): index of the image, then x1, y1, x2, y2 in image pixels.
        offset: Displacements (K, 2, PH, PW) of the bins, x before y; empty for none.
        output: Written in place (K, C, PH, PW).
        pooled_height: Number PH of bins vertically.
        pooled_width: Number PW of bins horizontally.
        spatial_scale: Size of the map relative to the image.
        sampling_ratio: Samples per bin on each axis; 0 for as many as the bin has pixels.
        gamma: Displacement of an offset of one, in sizes of the region.
    """
    table = _table(input)
    geometry = (pooled_height, pooled_width, spatial_scale, sampling_ratio, gamma)
    for samples in _samples(input, rois, offset, *geometry):
        sums = gather_rows(table, samples.rows, samples.weights)
        sums = sums.view(-1, pooled_height, pooled_width, input.shape[1]).permute(0, 3, 1, 2)
        output[samples.regions] = sums.to(output.dtype)


@implements('deform_roi_pool_backward')
def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add the gradient of the maps to ``grad_input`` and write that of ``offset``.

    Where a sample is held at the map's edge its derivative by the offset is zero, as the forward
    pass implies; the compiled operator extrapolates there.
    """
    table = _table(input)
    grad_table = torch.zeros_like(table)
    geometry = (pooled_height, pooled_width, spatial_scale, sampling_ratio, gamma)
    for samples in _samples(input, rois, offset, *geometry):
        gradient = upcast(grad_output[samples.regions]).permute(0, 2, 3, 1)
        gradient = gradient.reshape(-1, input.shape[1])
        grad_table += scatter_rows(gradient, samples.rows, samples.weights, table.shape[0])
        if offset.numel():
            products = row_products(gradient, table, samples.rows)
            slopes = torch.stack([samples.x_slopes, samples.y_slopes])
            shifts = (products * slopes).sum(-1).view(2, -1, pooled_height, pooled_width)
            grad_offset[samples.regions] = shifts.transpose(0, 1).to(grad_offset.dtype)
    batch, channels, height, width = input.shape
    grad_map = grad_table.view(batch, height, width, channels).permute(0, 3, 1, 2)
    grad_input.add_(grad_map.to(grad_input.dtype))
