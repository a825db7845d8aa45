"""The mask operator of point-wise spatial attention under mmcv's calling conventions.

PSANet (Zhao et al., ECCV 2018) predicts, at every pixel, attention over a window around it. The
operator moves these windows into attention over the whole feature map: "collect" gives column i the
attention pixel i pays to all others, "distribute" row i, so each is the transpose of the other.
"""

import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements

_COLLECT = 0


def _shift(source: Tensor, rows: int, columns: int, half: tuple[int, int], sign: int) -> Tensor:
    """Read every pixel's plane at positions shifted by the pixel's own position.

    Args:
        source: Planes (N, A, B, H, W): for every pixel (h, w) an A x B plane.
        rows: Rows of the resulting planes.
        columns: Columns of the resulting planes.
        half: Row and column of the window's centre.
        sign: Direction of the shift.

    Returns:
        Planes (N, rows, columns, H, W) whose element (p, q) at (h, w) is that of the source at
        ``(p - sign * (h - half[0]), q - sign * (w - half[1]))``, zero where there is none.
    """
    batch, source_rows, source_columns, height, width = source.shape
    device = source.device
    pixel_rows = torch.arange(height, device=device) - half[0]
    pixel_columns = torch.arange(width, device=device) - half[1]
    column = torch.arange(columns, device=device)[:, None] - sign * pixel_columns  # (columns, W)
    column_inside = (column >= 0) & (column < source_columns)
    planes = source.flatten(1, 2)
    result = source.new_empty(batch, rows, columns, height, width)
    for target_row in range(rows):  # one row at a time bounds the index
        row = target_row - sign * pixel_rows  # (H,)
        inside = ((row >= 0) & (row < source_rows))[:, None] & column_inside[:, None]
        cells = row[:, None] * source_columns + column[:, None]  # (columns, H, W)
        cells = cells.where(inside, 0).expand(batch, -1, -1, -1)
        result[:, target_row] = planes.gather(1, cells).masked_fill_(~inside, 0)
    return result


@implements('psamask_forward')
def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Spread windows of attention over the whole map.

    Args:
        input: Attention of every pixel over its window (N, h_mask * w_mask, H, W).
        output: Written in place (N, H * W, H, W).
        psa_type: 0 to collect, 1 to distribute.
        num_: Number of images N.
        h_feature: Rows H of the map.
        w_feature: Columns W of the map.
        h_mask: Rows of the window.
        w_mask: Columns of the window.
        half_h_mask: Row of the window's centre.
        half_w_mask: Column of the window's centre.
    """
    windows = input.reshape(num_, h_mask, w_mask, h_feature, w_feature)
    spread = _shift(windows, h_feature, w_feature, (half_h_mask, half_w_mask), 1)
    pixels = h_feature * w_feature
    spread = spread.view(num_, pixels, pixels)
    output.copy_((spread if psa_type == _COLLECT else spread.transpose(1, 2)).reshape(output.shape))


@implements('psamask_backward')
def psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Write the gradient of the windows to ``grad_input``; see :func:`psamask_forward`."""
    pixels = h_feature * w_feature
    spread = grad_output.reshape(num_, pixels, pixels)
    if psa_type != _COLLECT:
        spread = spread.transpose(1, 2)
    spread = spread.reshape(num_, h_feature, w_feature, h_feature, w_feature)
    windows = _shift(spread, h_mask, w_mask, (half_h_mask, half_w_mask), -1)
    grad_input.copy_(windows.view(grad_input.shape))
