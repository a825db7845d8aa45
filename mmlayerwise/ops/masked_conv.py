"""The two halves of a convolution at chosen pixels only, under mmcv's calling conventions."""

import torch.nn.functional as F
from torch import Tensor

from mmlayerwise.ops.extension import implements


@implements('masked_im2col_forward')
def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Copy the window of every chosen output pixel into a column.

    Args:
        im: Input (1, C, H, W).
        mask_h_idx: Rows of the n chosen output pixels (n,), int64.
        mask_w_idx: Their columns (n,), int64.
        col: Written in place (C * kernel_h * kernel_w, n).
        kernel_h: Rows of the kernel.
        kernel_w: Columns of the kernel.
        pad_h: Rows of zeros above and below the input.
        pad_w: Columns of zeros left and right of the input.
    """
    padded = F.pad(im[0], (pad_w, pad_w, pad_h, pad_h))
    columns = col.view(im.shape[1], kernel_h, kernel_w, -1)
    for row in range(kernel_h):
        for column in range(kernel_w):
            columns[:, row, column] = padded[:, mask_h_idx + row, mask_w_idx + column]


@implements('masked_col2im_forward')
def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Write a column of values to every chosen pixel.

    Args:
        col: Values (channels, n).
        mask_h_idx: Rows of the n chosen pixels (n,), int64.
        mask_w_idx: Their columns (n,), int64.
        im: Written in place at the chosen pixels only (1, channels, height, width).
        height: Rows of ``im``.
        width: Columns of ``im``.
        channels: Channels of ``im``.
    """
    im.view(channels, height, width)[:, mask_h_idx, mask_w_idx] = col.to(im.dtype)
