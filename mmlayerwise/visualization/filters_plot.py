"""The picture of a convolution's filters before and after they were learned."""

import os
from math import ceil, sqrt

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mmlayerwise.utils.files import write_atomically

# More filters than this can't be told apart in one picture.
MOST_FILTERS = 256


def draw_filters(
    before: Tensor,
    after: Tensor,
    path: str | os.PathLike,
    *,
    title: str | None = None,
    bgr: bool = False,
) -> None:
    """Draw filters side by side and write the picture atomically.

    Each filter is scaled by its own largest absolute weight: grey (white, in one channel) is 0.
    Filters of three channels are drawn in colour. Those of one channel, and the channels of all
    others one below the other, go from blue (negative) over white to red.

    Args:
        before: Weights of shape (num_filters, C, height, width) or (num_filters, C, length).
        after: Weights of the same shape.
        path: The picture; the suffix says the format.
        title: Heading.
        bgr: Whether three channels are blue, green, red.
    """
    columns = _columns(before[:MOST_FILTERS])
    mosaics = [_mosaic(one[:MOST_FILTERS], columns, bgr) for one in (before, after)]
    height, width = mosaics[0].shape[:2]
    scale = 4.6 / max(height, width)
    size = (2 * width * scale + 0.6, height * scale + 0.9)
    figure = Figure(figsize=(max(size[0], 5.0), max(size[1], 2.0)), layout='constrained', dpi=130)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    figure.get_layout_engine().set(wspace=0.08)
    for axes, mosaic, name in zip(panels, mosaics, ('before', 'after'), strict=True):
        colour = {} if mosaic.ndim == 3 else dict(cmap='RdBu_r', vmin=-1, vmax=1)
        axes.imshow(mosaic, interpolation='nearest', **colour)
        axes.set_title(name, loc='left', fontsize=10)
        axes.set_axis_off()
    note = f' (first {MOST_FILTERS} of {len(before)})' if len(before) > MOST_FILTERS else ''
    figure.suptitle((title or 'Filters') + note, x=0.01, ha='left', fontsize=11)
    with write_atomically(path) as temporary:
        figure.savefig(temporary)


def _columns(weights: Tensor) -> int:
    """Filters in a row, so that the mosaic is about as wide as high."""
    height, width = weights.shape[-2:]
    if weights.ndim == 4 and weights.shape[1] != 3:
        height *= weights.shape[1]
    return min(len(weights), ceil(sqrt(len(weights) * height / width)))


def _mosaic(weights: Tensor, columns: int, bgr: bool) -> np.ndarray:
    """Filters in rows, a gap of white between them: (height, width) or (height, width, 3)."""
    tiles = weights.detach().cpu().double()
    largest = tiles.abs().flatten(1).amax(1).clamp(min=1e-300)
    tiles = tiles / largest.view(-1, *[1] * (tiles.ndim - 1))
    if tiles.ndim == 4 and tiles.shape[1] == 3:
        tiles = (tiles.flip(1) if bgr else tiles).permute(0, 2, 3, 1) / 2 + 0.5
        blank = 1.0
    else:
        tiles = tiles.flatten(1, 2) if tiles.ndim == 4 else tiles
        blank = np.nan
    # A gap of one cell, less where a tile has many.
    repeat = max(1, ceil(8 / min(tiles.shape[1:3])))
    tiles = tiles.numpy().repeat(repeat, 1).repeat(repeat, 2)
    rows = ceil(len(tiles) / columns)
    height, width = tiles.shape[1] + 1, tiles.shape[2] + 1
    mosaic = np.full((rows * height - 1, columns * width - 1, *tiles.shape[3:]), blank)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        mosaic[top : top + height - 1, left : left + width - 1] = tile
    return mosaic
