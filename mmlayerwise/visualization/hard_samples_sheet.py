"""A sheet of samples, each beside its nearest neighbours."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmlayerwise.utils.files import write_atomically

MAX_NEIGHBORS = 6
_INK, _FRIEND, _ENEMY = '#1f2933', '#0b5394', '#c8500a'
_CELL = 1.15
_NAME_LENGTH = 16
# Up to this side pixels are shown as squares.
_SMALL = 64


@dataclass
class SheetRow:
    """A sample and its neighbours.

    Attributes:
        picture: uint8 of shape (H, W, 3), RGB.
        title: What it is.
        note: Its scores.
        neighbors: Picture, class and whether it is the sample's own, nearest first.
    """

    picture: np.ndarray
    title: str
    note: str
    neighbors: Sequence[tuple[np.ndarray, str, bool]]


def draw_sheet(rows: Sequence[SheetRow], path: str | os.PathLike) -> None:
    """Draw the sheet and write it atomically.

    Args:
        rows: One sample each; at most :data:`MAX_NEIGHBORS` neighbours are shown.
        path: The picture; the suffix says the format.
    """
    shown = min(MAX_NEIGHBORS, max((len(row.neighbors) for row in rows), default=0))
    width = _CELL * (shown + 1) + 0.5
    figure = Figure(figsize=(width, (_CELL + 0.5) * max(1, len(rows)) + 0.4), dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        max(1, len(rows)), shown + 1, width_ratios=[1.15] + [1] * shown, wspace=0.12, hspace=0.5,
        left=0.02, right=0.98, top=1 - 0.42 / figure.get_figheight(),
        bottom=0.25 / figure.get_figheight(),
    )  # fmt: skip
    for number, row in enumerate(rows):
        axes = figure.add_subplot(grid[number, 0])
        _show(axes, row.picture, _INK, 2.5)
        axes.set_title(f'{row.title}    {row.note}', loc='left', fontsize=7.5, color=_INK, pad=4)
        for place, (picture, label, friend) in enumerate(row.neighbors[:shown], 1):
            color = _FRIEND if friend else _ENEMY
            axes = figure.add_subplot(grid[number, place])
            _show(axes, picture, color, 1.5 if friend else 2)
            # Not by colour alone.
            name = label if len(label) <= _NAME_LENGTH else f'{label[: _NAME_LENGTH - 1]}…'
            axes.set_xlabel(f'{"=" if friend else "≠"} {name}', fontsize=7, color=color, labelpad=2)
    with write_atomically(path) as temporary:
        figure.savefig(temporary)


def _show(axes: Axes, picture: np.ndarray, color: str, width: float) -> None:
    smooth = 'antialiased' if max(picture.shape[:2]) > _SMALL else 'nearest'
    axes.imshow(picture, interpolation=smooth)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(color=color, linewidth=width)
