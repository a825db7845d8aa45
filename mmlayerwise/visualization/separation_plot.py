"""The picture of a separation record: index per layer, one line per epoch."""

import os
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.profile import LayerSeparation, SeparationProfile
from mmlayerwise.separation.record import Measurement, SeparationRecord
from mmlayerwise.utils.files import write_atomically

# More lines than this get a colour bar instead of a legend.
MOST_IN_LEGEND = 4


def draw_separation(
    record: SeparationRecord, path: str | os.PathLike, title: str | None = None
) -> None:
    """Draw the index of every layer, a line for each measurement, and write it atomically.

    The last measurement is drawn strongest, with its 95 % interval as a band and the chance level
    as a dashed line.

    Args:
        record: At least one measurement.
        path: The picture; the suffix says the format.
        title: Heading; what was compared by default.

    Raises:
        SeparationError: If the record is empty.
    """
    if not record.measurements:
        raise SeparationError('There is no measurement to draw.')
    figure = Figure(figsize=figure_size(record.layers()), layout='constrained', dpi=130)
    FigureCanvasAgg(figure)
    plot_separation(figure, figure.add_subplot(), record, title)
    with write_atomically(path) as temporary:
        figure.savefig(temporary)


def figure_size(layers: Sequence[str]) -> tuple[float, float]:
    """Width and height in inches at which the names of the layers are readable."""
    pitch = 0.42 if len(layers) <= 30 else 0.26 if len(layers) <= 80 else 0.17
    longest = max(len(name) for name in layers)
    return max(6.4, pitch * len(layers) + 1.8), 3.6 + 0.0075 * _font_size(layers) * longest


def plot_separation(
    figure: FigureBase, axes: Axes, record: SeparationRecord, title: str | None = None
) -> None:
    """Draw a record into existing axes, as :func:`draw_separation` does into a file.

    Args:
        figure: Figure or sub-figure of the axes; it takes the colour bar.
        axes: Where to draw.
        record: At least one measurement.
        title: Heading; what was compared by default.
    """
    layers = record.layers()
    _draw_lines(axes, record.measurements, layers)
    _draw_last(axes, record.measurements[-1], layers)
    size = _font_size(layers)
    axes.set_xticks(range(len(layers)), layers, rotation=90, fontsize=size, family='monospace')
    axes.set_xlim(-0.5, len(layers) - 0.5)
    axes.set_ylim(*_limits(record))
    axes.set_ylabel('separation index')
    axes.grid(axis='both', color='0.9', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    last = record.measurements[-1].profile
    most = max((layer.num_samples for layer in last.layers), default=0)
    heading = title or f'Separation of the layers, {most:,} {last.samples} samples'
    axes.set_title(heading, loc='left', pad=24)
    _legend(figure, axes, record.measurements)


def _font_size(layers: Sequence[str]) -> float:
    return 9 if len(layers) <= 30 else 8 if len(layers) <= 80 else 6.5


def _draw_lines(axes: Axes, measurements: Sequence[Measurement], layers: Sequence[str]) -> None:
    colors = _colors(measurements)
    for number, (one, color) in enumerate(zip(measurements, colors, strict=True)):
        final = number == len(measurements) - 1
        axes.plot(
            range(len(layers)),
            _column(one.profile, layers, 'index'),
            color=color,
            linewidth=2.2 if final else 1.2,
            marker='o',
            markersize=4.5 if final else 2.5,
            zorder=3 if final else 2,
            clip_on=False,
        )


def _draw_last(axes: Axes, last: Measurement, layers: Sequence[str]) -> None:
    entries = {layer.name: layer for layer in last.profile.layers}
    known = [
        (place, entries[name])
        for place, name in enumerate(layers)
        if name in entries and entries[name].index is not None
    ]
    nan = float('nan')
    low, high, chance = [nan] * len(layers), [nan] * len(layers), [nan] * len(layers)
    for place, layer in known:
        low[place], high[place] = layer.interval
        chance[place] = layer.chance
    color = _colors([last])[0]
    axes.fill_between(range(len(layers)), low, high, color=color, alpha=0.18, linewidth=0)
    if len(layers) == 1 and known:
        axes.vlines(0, low, high, color=color, alpha=0.4, linewidth=6)
    axes.plot(range(len(layers)), chance, color='0.35', linestyle='--', linewidth=1.2, zorder=1)
    if len(layers) == 1 and known:
        axes.axhline(chance[0], color='0.35', linestyle='--', linewidth=1.2)


def _column(profile: SeparationProfile, layers: Sequence[str], name: str) -> list[float]:
    entries: dict[str, LayerSeparation] = {layer.name: layer for layer in profile.layers}
    values = [getattr(entries[layer], name) if layer in entries else None for layer in layers]
    return [float('nan') if value is None else value for value in values]


def _colors(measurements: Sequence[Measurement]) -> list[tuple]:
    """Light for the first, dark for the last, by number so that any spacing is told apart."""
    count = len(measurements)
    palette = matplotlib.colormaps['viridis_r']
    return [palette(0.08 + 0.82 * (n / (count - 1) if count > 1 else 1)) for n in range(count)]


def _limits(record: SeparationRecord) -> tuple[float, float]:
    values = [
        value
        for one in record.measurements
        for layer in one.profile.layers
        if layer.index is not None
        for value in (layer.index, layer.chance, *layer.interval)
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.05 * max(high - low, 0.1)
    return max(0.0, low - margin), min(1.0, high + margin)


def _legend(figure: FigureBase, axes: Axes, measurements: Sequence[Measurement]) -> None:
    by_epoch = len({one.epoch for one in measurements}) == len(measurements)
    unit = 'epoch' if by_epoch else 'iteration'
    steps = [getattr(one, unit) for one in measurements]
    colors = _colors(measurements)
    handles = []
    if len(measurements) <= MOST_IN_LEGEND:
        handles += [
            Line2D([], [], color=color, linewidth=2, label=f'{unit} {step:,}')
            for step, color in zip(steps, colors, strict=True)
        ]
    else:
        palette = matplotlib.colors.ListedColormap(colors)
        scale = ScalarMappable(Normalize(-0.5, len(steps) - 0.5), palette)
        shown = sorted({round(n * (len(steps) - 1) / 5) for n in range(6)})
        bar = figure.colorbar(scale, ax=axes, pad=0.01, aspect=30, ticks=shown)
        bar.ax.set_yticklabels([f'{steps[n]:,}' for n in shown])
        bar.set_label(unit)
        handles.append(Line2D([], [], color=colors[-1], linewidth=2, label=f'{unit} {steps[-1]:,}'))
    last = colors[-1]
    handles.append(Line2D([], [], color=last, alpha=0.25, linewidth=8, label='95 % interval'))
    handles.append(Line2D([], [], color='0.35', linestyle='--', linewidth=1.2, label='chance'))
    axes.legend(
        handles=handles,
        loc='lower left',
        bbox_to_anchor=(-0.01, 1.0),
        borderaxespad=0.2,
        ncols=len(handles),
        columnspacing=1.2,
        handlelength=1.6,
        fontsize=8,
        frameon=False,
    )
