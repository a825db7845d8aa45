"""The picture of a ranking of pre-trained networks."""

import os
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmlayerwise.separation.transfer import Hits, RankedBackbone
from mmlayerwise.utils.files import write_atomically

_INK, _KEPT, _REJECTED, _CHANCE = '#1f2933', '#0b5394', '#c8500a', '0.35'


def draw_ranking(
    ranking: Sequence[RankedBackbone], threshold: float, path: str | os.PathLike
) -> None:
    """Draw the index of every network with its interval, the best on top, and write it atomically.

    Args:
        ranking: The networks, the best first.
        threshold: Index below which networks are rejected.
        path: The picture; the suffix says the format.
    """
    names = [one.measured.name for one in ranking]
    longest = max(len(name) for name in names)
    size = (5.2 + 0.085 * longest, 1.5 + 0.42 * len(ranking))
    figure = Figure(figsize=size, layout='constrained', dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    chance = ranking[0].measured.chance
    with_cross = any(one.measured.cross is not None for one in ranking)
    for place, one in enumerate(ranking):
        color = _REJECTED if one.rejected else _KEPT
        shift = 0.13 if with_cross else 0
        _point(axes, one.measured.hits, place - shift, color, filled=True)
        if one.measured.cross is not None:
            _point(axes, one.measured.cross, place + shift, color, filled=False)
    axes.axvline(chance, color=_CHANCE, linestyle='--', linewidth=1.2)
    axes.axvline(threshold, color=_REJECTED, linestyle=':', linewidth=1.4)
    axes.set_yticks(range(len(names)), names)
    for tick, one in zip(axes.get_yticklabels(), ranking, strict=True):
        tick.set_color(_REJECTED if one.rejected else _INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel('separation index on the target data')
    axes.grid(axis='x', color='0.9', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.tick_params(axis='y', length=0)
    _legend(figure, with_cross, any(one.rejected for one in ranking))
    with write_atomically(path) as temporary:
        figure.savefig(temporary)


def _point(axes: Axes, hits: Hits, height: float, color: str, filled: bool) -> None:
    low, high = hits.interval
    axes.plot([low, high], [height, height], color=color, linewidth=2, solid_capstyle='butt')
    axes.plot(hits.index, height, 'o', color=color, mfc=color if filled else 'white', markersize=7)


def _legend(figure: Figure, with_cross: bool, any_rejected: bool) -> None:
    handles = [Line2D([], [], color=_KEPT, marker='o', label='index, 95 % interval')]
    if with_cross:
        handles.append(Line2D([], [], color=_KEPT, marker='o', mfc='white', label='cross index'))
    handles.append(Line2D([], [], color=_CHANCE, linestyle='--', label='chance'))
    label = 'rejected below' if any_rejected else 'none is rejected'
    handles.append(Line2D([], [], color=_REJECTED, linestyle=':', label=label))
    figure.legend(
        handles=handles, loc='outside upper left', ncols=len(handles), fontsize=8, frameon=False
    )
