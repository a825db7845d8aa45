"""Where RoIAlign samples a feature map, and with which bilinear weights."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

# Elements of the largest intermediate result of a group of regions, away from the CPU.
_GROUP_ELEMENTS = 1 << 26


class AxisSamples(NamedTuple):
    """Sampling positions of regions along one axis of a map.

    Attributes:
        positions: Coordinates in pixels of the map, shape (K, num_bins, S). A region with fewer
            than S samples a bin has them first.
        counts: Samples in every bin of a region, shape (K,), int64.
        length: Pixels of the map along the axis.
    """

    positions: Tensor
    counts: Tensor
    length: int

    def averaging_matrices(self) -> Tensor:
        """Return the matrices that average the samples of every bin, (K, num_bins, length)."""
        sample = torch.arange(self.positions.size(2), device=self.positions.device)
        real = (sample < self.counts[:, None]).to(self.positions.dtype)
        share = real / self.counts.clamp(min=1)[:, None]
        return _interpolation_matrix(self.positions, share[:, None], self.length)

    def sampling_matrix(self, region: int) -> tuple[Tensor, Tensor]:
        """Return the positions of one region's samples and the matrix that interpolates there.

        Returns:
            Positions of shape (num_bins, count) and a matrix of (num_bins * count, length).
        """
        positions = self.positions[region, :, : int(self.counts[region])]
        weight = positions.new_ones(())
        return positions, _interpolation_matrix(positions.reshape(-1, 1), weight, self.length)


def axis_samples(
    start: Tensor, end: Tensor, num_bins: int, sampling_ratio: int, length: int
) -> AxisSamples:
    """Divide intervals into bins and spread samples evenly over each.

    Args:
        start: Where the intervals begin, in pixels of the map, shape (K,).
        end: Where they end, shape (K,). One that ends before it begins has no samples.
        num_bins: Bins of an interval.
        sampling_ratio: Samples in a bin; 0 or less for one a pixel, rounded up.
        length: Pixels of the map along the axis.
    """
    bin_size = (end - start) / num_bins
    if sampling_ratio > 0:
        counts = torch.full_like(start, sampling_ratio, dtype=torch.long)
    else:
        counts = bin_size.ceil().nan_to_num(0, 0, 0).clamp(min=0).long()
    sample = torch.arange(int(counts.max()), device=start.device, dtype=start.dtype)
    bins = torch.arange(num_bins, device=start.device, dtype=start.dtype)
    within = (sample + 0.5) * bin_size[:, None] / counts[:, None]
    positions = (start[:, None] + bins * bin_size[:, None])[:, :, None] + within[:, None]
    return AxisSamples(positions, counts, length)


def bilinear_taps(positions: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the two pixels around each position along an axis.

    Positions up to one pixel outside the map take its border, those beyond count as zero.

    Args:
        positions: Coordinates in pixels, any shape.
        length: Pixels of the map along the axis.

    Returns:
        The lower and the upper pixel (int64) and their weights, all of the shape of ``positions``.
    """
    inside = (positions >= -1) & (positions <= length)
    positions = torch.where(inside, positions, 0).clamp(0, length - 1)
    lower = positions.long()
    fraction = positions - lower
    return lower, (lower + 1).clamp(max=length - 1), (1 - fraction) * inside, fraction * inside


class Window(NamedTuple):
    """Consecutive regions of one image and the part of its map that holds all their samples."""

    regions: slice
    image: int
    rows: slice
    columns: slice


def windows(
    images: Tensor,
    vertical: Tensor,
    horizontal: Tensor,
    channels: int,
    group_elements: int | None = None,
) -> Iterator[Window]:
    """Divide regions into groups to be multiplied at once.

    On a CPU every region is a group with the smallest window, which saves arithmetic; elsewhere
    the regions of an image share one, which saves launches.

    Args:
        images: Index of each region's image, shape (K,).
        vertical: Matrices of shape (K, _, H).
        horizontal: Matrices of shape (K, _, W).
        channels: Channels of the map.
        group_elements: Elements of a group's largest intermediate result; by default as many as
            suit the device.

    Yields:
        The windows, without those that hold no sample.
    """
    if group_elements is None:
        group_elements = 0 if vertical.device.type == 'cpu' else _GROUP_ELEMENTS
    per_region = vertical.size(1) * horizontal.size(2) * channels
    size = max(1, group_elements // max(1, per_region))
    spans = [_spans(vertical), _spans(horizontal)]
    start = 0
    for image, run in groupby(images.tolist()):
        end = start + len(list(run))
        for first in range(start, end, size):
            regions = slice(first, min(first + size, end))
            rows, columns = (_hull(span[regions]) for span in spans)
            if rows.start < rows.stop and columns.start < columns.stop:
                yield Window(regions, int(image), rows, columns)
        start = end


def _interpolation_matrix(positions: Tensor, weights: Tensor, length: int) -> Tensor:
    """Return the matrix that sums interpolated samples, (..., S) to (..., length)."""
    lower, upper, lower_weight, upper_weight = bilinear_taps(positions, length)
    matrix = positions.new_zeros((*positions.shape[:-1], length))
    matrix.scatter_add_(-1, lower, lower_weight * weights)
    return matrix.scatter_add_(-1, upper, upper_weight * weights)


def _spans(matrices: Tensor) -> list[tuple[int, int]]:
    """Return, for each matrix, the range of columns outside of which it is zero."""
    used = (matrices != 0).any(dim=1)
    column = torch.arange(used.size(1), device=used.device)
    first = torch.where(used, column, used.size(1)).amin(dim=1)
    last = torch.where(used, column, -1).amax(dim=1)
    return list(zip(first.tolist(), (last + 1).tolist(), strict=True))


def _hull(spans: list[tuple[int, int]]) -> slice:
    return slice(min(first for first, _ in spans), max(end for _, end in spans))
