"""Feature maps as geometry: their stride, their form, and pooling of boxes and masks."""

from math import ceil

import torch
from torch import Tensor


def stride_of(input_size: tuple[int, int], map_size: tuple[int, int]) -> tuple[float, float]:
    """Input pixels a cell of the map covers, (vertical, horizontal).

    A map of ceil(size / n) cells has the stride n, as strided convolutions give it; any other map
    is taken to cover the input exactly.
    """

    def one(size: int, cells: int) -> float:
        whole = max(1, round(size / cells))
        return float(whole) if ceil(size / whole) == cells else size / cells

    return one(input_size[0], map_size[0]), one(input_size[1], map_size[1])


def as_feature_map(output: Tensor, input_size: tuple[int, int]) -> Tensor | None:
    """View a layer's output as (images, channels, height, width), or None where it is no map.

    Tokens of shape (images, height * width, channels), with or without one class token in front,
    are laid out if their number is that of a map at a stride of 1, 2, 4, ... 64.
    """
    if output.ndim == 4:
        return output
    if output.ndim != 3:
        return None
    for exponent in range(7):
        height, width = (ceil(size / 2**exponent) for size in input_size)
        extra = output.shape[1] - height * width
        if extra in (0, 1):
            tokens = output[:, extra:].transpose(1, 2)
            return tokens.reshape(len(output), -1, height, width)
    return None


def roi_align(
    feature_map: Tensor, boxes: Tensor, stride: tuple[float, float], output_size: int
) -> Tensor:
    """Pool boxes from one image's map by RoIAlign (He et al., Mask R-CNN, arXiv 1703.06870).

    Half-pixel aligned, ceil(box / output_size) sampling points a bin and axis, which mmcv calls
    ``sampling_ratio=0``. The bilinear weights of the two axes are separate, so a box is two small
    matrix products.

    Args:
        feature_map: float of shape (channels, height, width).
        boxes: float of shape (num_boxes, 4): left, top, right, bottom in input pixels.
        stride: Input pixels a cell covers, (vertical, horizontal).
        output_size: Bins a side.

    Returns:
        float32 of shape (num_boxes, channels, output_size, output_size).
    """
    boxes = boxes.to(feature_map.device, torch.float32)
    feature_map = feature_map.float()
    vertical = _bin_weights(boxes[:, 1], boxes[:, 3], stride[0], feature_map.shape[1], output_size)
    horizontal = _bin_weights(
        boxes[:, 0], boxes[:, 2], stride[1], feature_map.shape[2], output_size
    )
    rows = torch.einsum('nkh,chw->nkcw', vertical, feature_map)
    return torch.einsum('nkcw,nlw->nckl', rows, horizontal)


def _bin_weights(
    start: Tensor, stop: Tensor, stride: float, cells: int, output_size: int
) -> Tensor:
    """Mean bilinear weight of every cell in every bin: (num_boxes, output_size, cells)."""
    low = start / stride - 0.5
    length = (stop - start) / stride
    samples = (length / output_size).ceil().clamp(min=1)
    most = int(samples.max()) if len(samples) else 1
    number = torch.arange(most, device=start.device)
    used = number < samples[:, None]
    bins = torch.arange(output_size, device=start.device)
    # Sampling point s of bin b lies at (b + (s + 0.5) / samples) bins from the start.
    offset = bins[None, :, None] + ((number + 0.5) / samples[:, None])[:, None]
    points = low[:, None, None] + offset * (length / output_size)[:, None, None]
    inside = (points >= -1) & (points <= cells) & used[:, None]
    points = points.clamp(0, cells - 1)
    distance = (points[..., None] - torch.arange(cells, device=start.device)).abs()
    weights = (1 - distance).clamp(min=0) * inside[..., None]
    return weights.sum(2) / samples[:, None, None]


def mask_boxes(masks: Tensor) -> Tensor:
    """Smallest boxes round masks.

    Args:
        masks: bool of shape (num_masks, height, width).

    Returns:
        float32 of shape (num_masks, 4): left, top, right, bottom in pixels; zeros for empty masks.
    """
    boxes = torch.zeros(len(masks), 4)
    for number, mask in enumerate(masks):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        if len(rows):
            sides = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            boxes[number] = torch.cat(sides).float()
    return boxes


def mask_pool(
    feature_map: Tensor, mask: Tensor, box: Tensor, stride: tuple[float, float]
) -> Tensor:
    """Mean of the features under a mask; a cell weighs as much as the mask covers of it.

    Args:
        feature_map: float of shape (channels, height, width).
        mask: bool of shape (input height, input width), not empty.
        box: float of shape (4,): the smallest box round the mask.
        stride: Input pixels a cell covers, (vertical, horizontal).

    Returns:
        float32 of shape (channels,).
    """
    left, top, right, bottom = (int(side) for side in box)
    rows, vertical = _coverage(top, bottom, stride[0], feature_map.shape[1])
    columns, horizontal = _coverage(left, right, stride[1], feature_map.shape[2])
    covered = vertical @ mask[top:bottom, left:right].double() @ horizontal.T
    weights = (covered / covered.sum()).to(feature_map.device, torch.float32)
    return torch.einsum('chw,hw->c', feature_map[:, rows, columns].float(), weights)


def _coverage(start: int, stop: int, stride: float, cells: int) -> tuple[slice, Tensor]:
    """Which cells the pixels start ... stop - 1 lie in, and how much of each pixel in each cell.

    Returns:
        The cells, and float64 of shape (num_cells, num_pixels). A pixel beyond the last cell, of a
        map that was cut, counts to the last.
    """
    first, last = (min(int(pixel / stride), cells - 1) for pixel in (start, stop - 1e-6))
    edges = torch.arange(first, last + 2, dtype=torch.float64) * stride
    if last == cells - 1:
        edges[-1] = max(float(edges[-1]), stop)
    pixels = torch.arange(start, stop, dtype=torch.float64)
    upper = torch.minimum(pixels + 1, edges[1:, None])
    lower = torch.maximum(pixels, edges[:-1, None])
    return slice(first, last + 1), (upper - lower).clamp(min=0)
