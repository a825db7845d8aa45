"""RoIAlign (He et al. 2017, "Mask R-CNN", section 3), with average or maximum over a bin.

The sampling grid of a region is the product of a vertical and a horizontal one, and so are the
bilinear weights. Averaging over the bins of a region is therefore two small matrix products,
``vertical @ map @ horizontal.T``, with the part of the map under the region; the gradient is their
transpose. Maps are laid out channels last, so that the products run over whole pixels.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.precision import upcast
from mmlayerwise.ops.roi_samples import AxisSamples, axis_samples, bilinear_taps, windows
from mmlayerwise.ops.torchvision_operators import torchvision_operator

_MAX = 0
_NOTHING_POOLED = -1
# Elements of the largest table of sampling positions or weights.
_TABLE_ELEMENTS = 1 << 24


class _Grid(NamedTuple):
    """What mmcv passes to both directions, besides tensors."""

    aligned_height: int
    aligned_width: int
    spatial_scale: float
    sampling_ratio: int
    aligned: bool


class _Part(NamedTuple):
    """Consecutive regions and where they sample the map."""

    regions: slice
    images: Tensor
    vertical: AxisSamples
    horizontal: AxisSamples


@implements('roi_align_forward')
def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool the features under regions of interest into bins.

    A region of negative or zero size has no samples and pools to zero.

    Args:
        input: Feature maps, shape (N, C, H, W).
        rois: Index of the map and box (x1, y1, x2, y2) in image pixels, shape (K, 5).
        output: Output, shape (K, C, aligned_height, aligned_width).
        argmax_y: Output of maximum pooling: y of the winning sample in pixels of the map, -1 where
            nothing was pooled. Shape of ``output``; empty for the average.
        argmax_x: Likewise, x.
        aligned_height: Bins of a region in y.
        aligned_width: Bins of a region in x.
        spatial_scale: Pixels of the map for one pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 for one a pixel, region by region.
        pool_mode: 0 for the maximum of the samples of a bin, 1 for their average.
        aligned: Whether a box is shifted by half a pixel, so that the centre of a pixel is its
            position; if not, regions are at least one pixel wide and high.
    """
    if rois.size(0) == 0:
        return
    grid = _Grid(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    features, rois = upcast(input), rois.to(upcast(input).dtype)
    if pool_mode == _MAX:
        _pool_maximum(features, rois, output, argmax_y, argmax_x, grid)
        return
    compiled = torchvision_operator('roi_align', input.device.type)
    if compiled is not None:
        output.copy_(_pool_by_torchvision(compiled, features, rois, grid))
    else:
        output.copy_(_pool_average(features, rois, grid))


@implements('roi_align_backward')
def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of :func:`roi_align_forward` with respect to its input.

    Args:
        grad_output: Gradient of the pooled features, shape (K, C, aligned_height, aligned_width).
        rois: As in the forward pass.
        argmax_y: As the forward pass left it.
        argmax_x: As the forward pass left it.
        grad_input: Output, shape (N, C, H, W).
        aligned_height: As in the forward pass, and so are the arguments after it.
        aligned_width: Bins of a region in x.
        spatial_scale: Pixels of the map for one pixel of the image.
        sampling_ratio: Samples of a bin along each axis.
        pool_mode: 0 for the maximum, 1 for the average.
        aligned: Whether a box is shifted by half a pixel.
    """
    if rois.size(0) == 0:
        return
    grid = _Grid(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    gradient = upcast(grad_output)
    rois, shape = rois.to(gradient.dtype), grad_input.shape
    if pool_mode == _MAX:
        grad_input.copy_(_spread_maximum(gradient, rois, argmax_y, argmax_x, shape))
        return
    compiled = torchvision_operator('roi_align', grad_output.device.type)
    if compiled is not None:
        with torch.enable_grad():  # the operator is linear, so any input has its gradient
            features = gradient.new_zeros(shape, requires_grad=True)
            output = _pool_by_torchvision(compiled, features, rois, grid)
        grad_input.copy_(torch.autograd.grad(output, features, gradient)[0])
    else:
        grad_input.copy_(_spread_average(gradient, rois, shape, grid))


def _pool_by_torchvision(
    compiled: Callable[..., Tensor], features: Tensor, rois: Tensor, grid: _Grid
) -> Tensor:
    size = (grid.aligned_height, grid.aligned_width)
    return compiled(features, rois, size, grid.spatial_scale, grid.sampling_ratio, grid.aligned)


def _parts(rois: Tensor, shape: torch.Size, grid: _Grid) -> Iterator[_Part]:
    """Yield the regions in parts whose tables of positions and weights are of bounded size."""
    boxes = rois[:, 1:] * grid.spatial_scale - (0.5 if grid.aligned else 0)
    start, end = boxes[:, :2], boxes[:, 2:]
    if not grid.aligned:
        end = torch.maximum(end, start + 1)
    images = rois[:, 0].long()
    bins = max(grid.aligned_height, grid.aligned_width)
    samples = max(int((end - start).nan_to_num(0, 0, 0).amax()), bins * grid.sampling_ratio) + bins
    step = max(1, _TABLE_ELEMENTS // (bins * (shape[2] + shape[3]) + samples))
    for first in range(0, len(rois), step):
        part = slice(first, min(first + step, len(rois)))
        x, y = (
            axis_samples(start[part, axis], end[part, axis], bins, grid.sampling_ratio, length)
            for axis, bins, length in (
                (0, grid.aligned_width, shape[3]),
                (1, grid.aligned_height, shape[2]),
            )
        )
        yield _Part(part, images[part], y, x)


def _pool_average(features: Tensor, rois: Tensor, grid: _Grid) -> Tensor:
    """Return pooled features, shape (K, C, aligned_height, aligned_width)."""
    channels = features.size(1)
    pixels = features.permute(0, 2, 3, 1).contiguous()
    pooled = features.new_zeros(len(rois), grid.aligned_height, grid.aligned_width, channels)
    for part in _parts(rois, features.shape, grid):
        vertical = part.vertical.averaging_matrices()
        horizontal = part.horizontal.averaging_matrices()
        outputs = pooled[part.regions]
        for window in windows(part.images, vertical, horizontal, channels):
            crop = pixels[window.image, window.rows, window.columns]
            height, width = crop.shape[:2]
            down = vertical[window.regions, :, window.rows]
            across = horizontal[window.regions, :, window.columns]
            rows = down.reshape(-1, height) @ crop.reshape(height, -1)
            rows = rows.view(*down.shape[:2], width, channels)
            torch.matmul(across[:, None], rows, out=outputs[window.regions])
    return pooled.permute(0, 3, 1, 2)


def _spread_average(gradient: Tensor, rois: Tensor, shape: torch.Size, grid: _Grid) -> Tensor:
    """Return the gradient of :func:`_pool_average`, shape (N, C, H, W)."""
    num_images, channels, *size = shape
    gradient = gradient.permute(0, 2, 3, 1).contiguous()
    pixels = gradient.new_zeros(num_images, *size, channels)
    for part in _parts(rois, shape, grid):
        vertical = part.vertical.averaging_matrices()
        horizontal = part.horizontal.averaging_matrices()
        for window in windows(part.images, vertical, horizontal, channels):
            down = vertical[window.regions, :, window.rows]
            across = horizontal[window.regions, :, window.columns]
            height, width = down.size(2), across.size(2)
            rows = across.transpose(1, 2)[:, None] @ gradient[part.regions][window.regions]
            crop = down.reshape(-1, height).T @ rows.reshape(-1, width * channels)
            pixels[window.image, window.rows, window.columns] += crop.view(height, width, channels)
    return pixels.permute(0, 3, 1, 2)


def _pool_maximum(
    features: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, grid: _Grid
) -> None:
    """Write the maximum of every bin and where it lies."""
    output.zero_()
    argmax_y.fill_(_NOTHING_POOLED)
    argmax_x.fill_(_NOTHING_POOLED)
    for part in _parts(rois, features.shape, grid):
        for index in range(len(part.images)):
            y, down = part.vertical.sampling_matrix(index)
            x, across = part.horizontal.sampling_matrix(index)
            images = part.images[index : index + 1]
            for window in windows(images, down[None], across[None], features.size(1)):
                crop = features[window.image, :, window.rows, window.columns]
                samples = down[:, window.rows] @ crop @ across[:, window.columns].T
                samples = samples.view(-1, *y.shape, *x.shape).transpose(2, 3).flatten(3)
                values, winner = samples.max(dim=-1)
                region = part.regions.start + index
                output[region] = values
                row = torch.arange(len(y), device=y.device)[:, None]
                column = torch.arange(len(x), device=x.device)
                argmax_y[region] = y[row, winner // x.size(1)]
                argmax_x[region] = x[column, winner % x.size(1)]


def _spread_maximum(
    gradient: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, shape: torch.Size
) -> Tensor:
    """Return the gradient of :func:`_pool_maximum`, shape (N, C, H, W)."""
    num_images, channels, height, width = shape
    pooled = argmax_y != _NOTHING_POOLED
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    y0, y1, weight_y0, weight_y1 = bilinear_taps(argmax_y.to(gradient.dtype), height)
    x0, x1, weight_x0, weight_x1 = bilinear_taps(argmax_x.to(gradient.dtype), width)
    flat = gradient.new_zeros(num_images * channels * height * width)
    for y, weight_y in ((y0, weight_y0), (y1, weight_y1)):
        for x, weight_x in ((x0, weight_x0), (x1, weight_x1)):
            index = (plane[:, :, None, None] * height + y) * width + x
            flat.index_add_(0, index.flatten(), (gradient * weight_y * weight_x * pooled).flatten())
    return flat.view(shape)
