"""Bilinear interpolation one value at a time: the reference of the sampling operators."""

from math import floor

import torch
from torch import Tensor


def interpolate(image: Tensor, y: float, x: float) -> Tensor:
    """Interpolate (C, H, W) at one point as if zeros surrounded it; (C,)."""
    height, width = image.shape[1:]
    value = torch.zeros(image.shape[0], dtype=torch.float64)
    for row in (floor(y), floor(y) + 1):
        for column in (floor(x), floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                value += weight * image[:, row, column].double()
    return value
