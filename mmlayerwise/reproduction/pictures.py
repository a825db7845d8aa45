"""The pictures of a table: differences, and separation over time and over the layers."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmlayerwise.reproduction.methods import BACKPROPAGATION, METHODS
from mmlayerwise.reproduction.summary import clock, value_of
from mmlayerwise.reproduction.tables import DATASET_TITLES, MODEL_TITLES, method_title
from mmlayerwise.utils.files import write_atomically

Runs = list[dict[str, Any]]


def draw_all(summary: dict[str, Any], runs: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw what there is data for.

    Args:
        summary: Of the table.
        runs: Results that the summary was made from.
        folder: Where the pictures go.

    Returns:
        Their paths.
    """
    drawn = {
        'differences.png': draw_differences(summary, runs),
        'separation_over_time.png': draw_over_time(runs),
        'separation_per_layer.png': draw_per_layer(runs),
        'forward_phase.png': draw_forward_phase(runs),
    }
    paths = []
    for name, figure in drawn.items():
        if figure is not None:
            FigureCanvasAgg(figure)
            with write_atomically(folder / name) as temporary:
                figure.savefig(temporary)
            paths.append(folder / name)
    return paths


def draw_differences(summary: dict[str, Any], runs: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw the difference of every row to backpropagation.

    Args:
        summary: Of the table.
        runs: Results that the summary was made from.

    Returns:
        A point for every seed, mean and interval, and the lectures' difference; None if
        backpropagation or everything else is missing.
    """
    rows = [row for row in summary['rows'] if row['difference']]
    if not rows:
        return None
    values: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for run in runs:
        cell = run['model'], run['dataset'], run['method']
        values[cell][run['seed']] = value_of(run, summary['metric'])
    figure = Figure(figsize=(8, 1.6 + 0.5 * len(rows)), layout='constrained', dpi=130)
    axes = figure.add_subplot()
    axes.axvline(0, color='0.35', linewidth=1, linestyle='--')
    for place, row in enumerate(rows):
        found = row['difference']
        own, base = (
            values[row['model'], row['dataset'], method]
            for method in (row['method'], BACKPROPAGATION)
        )
        points = [own[seed] - base[seed] for seed in own if seed in base]
        color = _colors([row['method']])[0]
        axes.scatter(points, [place - 0.18] * len(points), s=14, color=color, alpha=0.5)
        if found['low'] is not None:
            axes.plot([found['low'], found['high']], [place] * 2, color=color, linewidth=2)
        axes.scatter([found['mean']], [place], s=50, color=color, zorder=3)
        if row['printed_difference'] is not None:
            axes.scatter(
                [row['printed_difference']], [place + 0.18], s=40, marker='D', zorder=3,
                facecolors='white', edgecolors='0.2',
            )  # fmt: skip
    titles = [f'{_title(row["model"], row["dataset"])}\n{method_title(row["method"])}'
              for row in rows]  # fmt: skip
    axes.set_yticks(range(len(rows)), titles, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f'{summary["metric"]} less that of backpropagation, percentage points')
    axes.scatter([], [], s=50, color='0.3', label='mean, 95 % interval')
    axes.scatter([], [], s=14, color='0.3', alpha=0.5, label='one seed')
    axes.scatter([], [], s=40, marker='D', facecolors='white', edgecolors='0.2', label='lectures')
    _legend(axes, 3)
    _tidy(axes)
    return figure


def draw_over_time(runs: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw the separation of the layer before the head while backpropagation goes on.

    Args:
        runs: Results.

    Returns:
        One part for every network and data set, one line for every method: the mean over seeds, a
        triangle for every measured epoch; None if nothing was measured.
    """
    cells = _cells([run for run in runs if any(epoch['separation'] for epoch in run['epochs'])])
    if not cells:
        return None
    figure, parts = _parts(len(cells), (6.8, 4.2))
    for axes, (cell, methods) in zip(parts, cells.items(), strict=True):
        for method, color in zip(methods, _colors(list(methods)), strict=True):
            found = methods[method]
            last = last_hidden_layer(found[0])
            which = clock(found[0]['settings'])
            times, values = (
                np.mean([[take(epoch) for epoch in run['epochs']] for run in found], axis=0)
                for take in (
                    lambda epoch, which=which: epoch['seconds'][which],
                    lambda epoch, last=last: epoch['separation'][last],
                )
            )
            axes.plot(times, values, '^-', color=color, markersize=5, label=method_title(method))
        axes.set_title(f'{_title(*cell)}, output of {last}', loc='left', fontsize=10, pad=44)
        axes.set_xlabel('training time, s, what comes before backpropagation included')
        axes.set_ylabel('separation index, test samples')
        axes.set_xlim(left=0)
        _legend(axes, 3)
        _tidy(axes)
    return figure


def draw_per_layer(runs: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw the separation of all layers after the last epoch.

    Args:
        runs: Results.

    Returns:
        One part for every network and data set, one line for every method: the mean over seeds,
        with its standard deviation as a band; None if nothing was measured.
    """
    cells = _cells([run for run in runs if run['epochs'][-1]['separation']])
    if not cells:
        return None
    longest = max(len(run['epochs'][-1]['separation']) for run in runs)
    figure, parts = _parts(len(cells), (max(6.8, 1.5 + 0.4 * longest), 5))
    for axes, (cell, methods) in zip(parts, cells.items(), strict=True):
        for method, color in zip(methods, _colors(list(methods)), strict=True):
            found = [run['epochs'][-1]['separation'] for run in methods[method]]
            layers = list(found[0])
            values = np.array([[one[layer] for layer in layers] for one in found])
            mean, places = values.mean(axis=0), range(len(layers))
            axes.plot(places, mean, 'o-', color=color, markersize=4, label=method_title(method))
            if len(values) > 1 and len(methods) <= 4:
                spread = values.std(axis=0, ddof=1)
                axes.fill_between(
                    places, mean - spread, mean + spread, color=color, alpha=0.12, linewidth=0
                )
        axes.set_xticks(places, layers, rotation=90, fontsize=8, family='monospace')
        axes.set_title(f'{_title(*cell)}, after the last epoch', loc='left', fontsize=10, pad=44)
        axes.set_ylabel('separation index, test samples')
        _legend(axes, 3)
        _tidy(axes)
    return figure


def draw_forward_phase(runs: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw the separation of the layer that learns, epoch by epoch, as the lectures' figure does.

    Args:
        runs: Results.

    Returns:
        For every network and data set the method with the most layers: a triangle for every epoch,
        a red dot for what each layer is left with; None if no layer learned forward.
    """
    cells = _cells([run for run in runs if run['layerwise']])
    if not cells:
        return None
    figure, parts = _parts(len(cells), (7.6, 4.2))
    for axes, (cell, methods) in zip(parts, cells.items(), strict=True):
        method = max(methods, key=lambda key: len(methods[key][0]['layerwise']))
        for run in methods[method]:
            place, kept = 0, []
            for layer in run['layerwise']:
                values = [epoch['separation_index'] for epoch in layer['epochs']]
                places = range(place, place + len(values))
                axes.plot(places, values, '^-', color='#31688e', alpha=0.45, markersize=5)
                kept.append((place + int(np.argmax(values)), max(values)))
                place += len(values)
            axes.plot(*zip(*kept, strict=True), 'o-', color='#c0392b', alpha=0.6, markersize=5)
        axes.plot([], [], '^-', color='#31688e', label='one epoch of a layer, its start included')
        axes.plot([], [], 'o-', color='#c0392b', label='what the layer is left with')
        title = f'{_title(*cell)}, {method_title(method)}, one line a seed'
        axes.set_title(title, loc='left', fontsize=10, pad=28)
        axes.set_xlabel('measurements, layer after layer')
        axes.set_ylabel('separation index of the layer,\ntraining samples')
        _legend(axes, 2)
        _tidy(axes)
    return figure


def last_hidden_layer(run: dict[str, Any]) -> str:
    """The last measured layer before the head.

    Args:
        run: A result with separation.

    Returns:
        Its name.
    """
    layers = list(run['epochs'][-1]['separation'])
    hidden = [layer for layer in layers if not layer.startswith(('head', 'auxiliary_head'))]
    return (hidden or layers)[-1]


def _cells(runs: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Runs]]:
    """Runs by network and data set, and by method in the order of all methods."""
    cells: dict[tuple[str, str], dict[str, Runs]] = defaultdict(lambda: defaultdict(list))
    order = list(METHODS)
    for run in sorted(runs, key=lambda run: (order.index(run['method']), run['seed'])):
        cells[run['model'], run['dataset']][run['method']].append(run)
    return cells


def _parts(number: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(size[0], size[1] * number), layout='constrained', dpi=130)
    return figure, list(np.atleast_1d(figure.subplots(number, 1)))


def _colors(methods: list[str]) -> list[Any]:
    """Black for backpropagation; the more layers learn forward, the lighter."""
    named = {
        'eigenvectors': '#e08214', 'qls_frozen': '#31688e', 'qls_fine_tuned': '#35a07a',
        'layer_wise': '#7b3294', 'layer_wise_fine_tuned': '#c0392b', BACKPROPAGATION: '0.15',
    }  # fmt: skip
    scale = matplotlib.colormaps['plasma']
    return [
        named[method] if method in named else scale(int(method.partition('_')[2]) / 15)
        for method in methods
    ]


def _title(model: str, dataset: str) -> str:
    return f'{MODEL_TITLES[model]}, {DATASET_TITLES[dataset]}'


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(
        loc='lower left', bbox_to_anchor=(-0.01, 1.0), ncols=columns, fontsize=8, frameon=False,
        columnspacing=1.2, handlelength=1.6,
    )  # fmt: skip


def _tidy(axes: Axes) -> None:
    axes.grid(color='0.9', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
