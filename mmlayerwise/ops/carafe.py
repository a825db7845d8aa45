"""Content-aware reassembly of features (CARAFE) under mmcv's calling conventions.

Every output pixel sums a k x k window of the low-resolution map with weights of its own, which the
channels of a group share (Wang et al., "CARAFE", ICCV 2019, Eq. 4).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.precision import upcast
from mmlayerwise.ops.sampling import (
    balanced_slices,
    gather_rows,
    pixel_rows,
    row_products,
    scatter_rows,
)

# Largest number of pixels looked up at once: some 64 MiB with their indices and weights.
_MAX_TAPS = 2**22


def _window_bands(
    height: int,
    width: int,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
    device: torch.device,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Locate the window of every output pixel, a band of output rows at a time.

    Yields:
        The output rows, the rows of the pixel table (band * width * groups, k * k), and which
        window positions lie within the map (band * width, 1, k * k).
    """
    window = torch.arange(kernel_size, device=device) - kernel_size // 2
    columns = torch.arange(width * scale_factor, device=device) // scale_factor
    columns = columns[:, None] + window  # (output columns, k)
    column_inside = (columns >= 0) & (columns < width)
    groups = torch.arange(group_size, device=device)[:, None]
    taps_per_row = max(1, width * scale_factor * group_size * kernel_size**2)
    for band in balanced_slices(height * scale_factor, _MAX_TAPS // taps_per_row):
        rows = torch.arange(band.start, band.stop, device=device) // scale_factor
        rows = rows[:, None] + window  # (band, k)
        row_inside = (rows >= 0) & (rows < height)
        cells = rows[:, None, :, None] * width + columns[:, None]  # (band, output columns, k, k)
        inside = row_inside[:, None, :, None] & column_inside[:, None]
        cells = cells.where(inside, 0).flatten(2).flatten(0, 1)[:, None]
        yield (
            band,
            (cells * group_size + groups).flatten(0, 1),
            inside.flatten(2).flatten(0, 1)[:, None],
        )


def _window_weights(masks: Tensor, band: slice, inside: Tensor, group_size: int) -> Tensor:
    """Arrange one image's masks (groups * k * k, sH, sW) as weights (pixel * groups, k * k)."""
    weights = upcast(masks[:, band])
    weights = weights.reshape(group_size, inside.shape[-1], -1).permute(2, 0, 1)
    return weights.where(inside, 0).flatten(0, 1)


def _reassemble(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the reassembled features of every image to ``output``."""
    channels, height, width = features.shape[1:]
    window = (kernel_size, group_size, scale_factor)
    for index in range(features.shape[0]):
        table = pixel_rows(upcast(features[index]), group_size)
        for band, rows, inside in _window_bands(height, width, *window, features.device):
            sums = gather_rows(table, rows, _window_weights(masks[index], band, inside, group_size))
            sums = sums.view(-1, width * scale_factor, channels)
            output[index, :, band] = sums.permute(2, 0, 1).to(output.dtype)


def _reassemble_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_features: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients of features and masks to the tensors given for them."""
    channels, height, width = features.shape[1:]
    window = (kernel_size, group_size, scale_factor)
    for index in range(features.shape[0]):
        table = pixel_rows(upcast(features[index]), group_size)
        grad_table = torch.zeros_like(table)
        for band, rows, inside in _window_bands(height, width, *window, features.device):
            gradient = pixel_rows(upcast(grad_output[index, :, band]), group_size)
            weights = _window_weights(masks[index], band, inside, group_size)
            grad_table += scatter_rows(gradient, rows, weights, table.shape[0])
            products = row_products(gradient, table, rows).view(-1, group_size, inside.shape[-1])
            products = products.where(inside, 0).permute(1, 2, 0)
            target = grad_masks[index, :, band]
            target += products.reshape(target.shape).to(target.dtype)
        grad_map = grad_table.view(height, width, channels).permute(2, 0, 1)
        grad_features[index] += grad_map.to(grad_features.dtype)


@implements('carafe_naive_forward')
def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Reassemble features into ``output``.

    Args:
        features: Low-resolution map (N, C, H, W).
        masks: Weights of the windows (N, group_size * kernel_size**2, H * scale, W * scale).
        output: Written in place (N, C, H * scale, W * scale).
        kernel_size: Size k of the window, odd.
        group_size: Number of channel groups, each with weights of its own.
        scale_factor: Integer upsampling factor.
    """
    _reassemble(features, masks, output, kernel_size, group_size, scale_factor)


@implements('carafe_naive_backward')
def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_features: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients of features and masks to ``grad_features`` and ``grad_masks``."""
    _reassemble_backward(
        grad_output,
        features,
        masks,
        grad_features,
        grad_masks,
        kernel_size,
        group_size,
        scale_factor,
    )


@implements('carafe_forward')
def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Reassemble features into ``output``, keeping them channels last for the backward pass.

    Args:
        features: Low-resolution map (N, C, H, W).
        masks: Weights of the windows (N, group_size * kernel_size**2, H * scale, W * scale).
        rfeatures: Resized to (N, H, W, C) and filled with the features.
        routput: Scratch of the compiled operator, unused.
        rmasks: Scratch of the compiled operator, unused.
        output: Written in place (N, C, H * scale, W * scale).
        kernel_size: Size k of the window, odd.
        group_size: Number of channel groups, each with weights of its own.
        scale_factor: Integer upsampling factor.
    """
    channels_last = features.permute(0, 2, 3, 1)
    rfeatures.resize_(channels_last.shape).copy_(channels_last)
    _reassemble(features, masks, output, kernel_size, group_size, scale_factor)


@implements('carafe_backward')
def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients to ``grad_input`` and ``grad_masks``; the scratch tensors stay unused."""
    _reassemble_backward(
        grad_output,
        rfeatures.permute(0, 3, 1, 2),
        masks,
        grad_input,
        grad_masks,
        kernel_size,
        group_size,
        scale_factor,
    )
