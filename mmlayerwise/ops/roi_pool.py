"""RoIPool (Girshick 2015, "Fast R-CNN", section 2.1): the maximum of every bin of a region.

torchvision's ``roi_pool`` rounds the region to whole pixels first and so differs from mmcv's,
which rounds the bins; it cannot serve here.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements

_NOTHING_POOLED = -1
# Elements gathered at a time: 16 MB of float32.
_GATHERED_ELEMENTS = 1 << 22


@implements('roi_pool_forward')
def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the maximum of every bin of every region, and where it lies.

    Bins without a pixel, and all bins of a region of negative or zero size, pool to zero.

    Args:
        input: Feature maps, shape (N, C, H, W).
        rois: Index of the map and box (x1, y1, x2, y2) in image pixels, of which the box includes
            the last. Shape (K, 5).
        output: Output, shape (K, C, pooled_height, pooled_width).
        argmax: Output: index ``y * W + x`` of the first pixel that has the maximum, -1 where
            nothing was pooled. Shape of ``output``, int32.
        pooled_height: Bins of a region in y.
        pooled_width: Bins of a region in x.
        spatial_scale: Pixels of the map for one pixel of the image.
    """
    channels, height, width = input.shape[1:]
    pixels = input.permute(0, 2, 3, 1).reshape(-1, channels)
    boxes = rois[:, 1:].to(torch.promote_types(rois.dtype, torch.float32))
    x_first, x_end = _bins(boxes[:, 0], boxes[:, 2], spatial_scale, pooled_width, width)
    y_first, y_end = _bins(boxes[:, 1], boxes[:, 3], spatial_scale, pooled_height, height)
    image = rois[:, 0].long()
    for part in _parts(y_end - y_first, x_end - x_first, channels):
        # A window smaller than the largest repeats its last pixel, which changes no maximum.
        y = _window(y_first[part], y_end[part])[:, :, None, :, None]
        x = _window(x_first[part], x_end[part])[:, None, :, None, :]
        index = (y * width + x).flatten(3)
        values = pixels[index + image[part, None, None, None] * (height * width)]
        values, winner = values.max(dim=3)
        position = index.gather(3, winner)
        empty = (y_end <= y_first)[part, :, None] | (x_end <= x_first)[part, None, :]
        values.masked_fill_(empty[..., None], 0)
        position.masked_fill_(empty[..., None], _NOTHING_POOLED)
        output[part] = values.permute(0, 3, 1, 2)
        argmax[part] = position.permute(0, 3, 1, 2).to(argmax.dtype)


@implements('roi_pool_backward')
def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the gradient of :func:`roi_pool_forward` with respect to its input.

    Args:
        grad_output: Gradient of the output, shape (K, C, pooled_height, pooled_width).
        rois: As in the forward pass.
        argmax: As the forward pass left it.
        grad_input: Output, shape (N, C, H, W).
        pooled_height: Bins of a region in y; the forward pass has used it up.
        pooled_width: Bins of a region in x, likewise.
        spatial_scale: Pixels of the map for one pixel of the image, likewise.
    """
    num_images, channels, height, width = grad_input.shape
    gradient = grad_output.to(torch.promote_types(grad_output.dtype, torch.float32))
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    index = plane[:, :, None, None] * (height * width) + argmax
    pooled = argmax != _NOTHING_POOLED
    flat = gradient.new_zeros(num_images * channels * height * width)
    flat.index_add_(0, index[pooled], gradient[pooled])
    grad_input.copy_(flat.view_as(grad_input))


def _bins(
    low: Tensor, high: Tensor, scale: float, num_bins: int, length: int
) -> tuple[Tensor, Tensor]:
    """Return the first pixel of every bin and the one after its last, both (K, num_bins)."""
    start, end = low * scale, (high + 1) * scale
    bin_size = ((end - start) / num_bins)[:, None]
    edges = torch.arange(num_bins + 1, device=low.device, dtype=low.dtype)
    first = (edges[:-1] * bin_size + start[:, None]).floor().clamp(0, length).long()
    last = (edges[1:] * bin_size + start[:, None]).ceil().clamp(0, length).long()
    return first, torch.where((end > start)[:, None], last, first)


def _parts(heights: Tensor, widths: Tensor, channels: int) -> Iterator[Tensor]:
    """Yield the indices of regions of similar size whose windows are gathered at once."""
    if len(heights) == 0:
        return
    tallest, widest = heights.amax(dim=1).clamp(min=1), widths.amax(dim=1).clamp(min=1)
    order = (tallest * widest).argsort()
    per_area = heights.size(1) * widths.size(1) * channels
    sizes = torch.stack((tallest[order], widest[order]), dim=1).tolist()
    start, height, width = 0, 0, 0
    for index, (region_height, region_width) in enumerate(sizes):
        height, width = max(height, region_height), max(width, region_width)
        if index > start and (index + 1 - start) * height * width * per_area > _GATHERED_ELEMENTS:
            yield order[start:index]
            start, height, width = index, region_height, region_width
    yield order[start:]


def _window(first: Tensor, end: Tensor) -> Tensor:
    """Return the pixels of every bin, padded with its last one, shape (K, num_bins, S)."""
    size = (end - first).amax().clamp(min=1)
    pixels = first[:, :, None] + torch.arange(int(size), device=first.device)
    return pixels.minimum((end - 1).maximum(torch.zeros_like(end))[:, :, None])
