"""The page itself: one HTML file with everything in it."""

import html
import json
import os
from importlib.resources import files
from typing import Any

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.report import figures
from mmlayerwise.visualization.report.data import LayerCost, ReportData

# Cells of the heat maps of all steps together; of a longer run, evenly spread steps are shown.
MAX_CELLS = 250_000
MAX_STEPS = 100


def check_plotly() -> None:
    """Raise an error that says what to install if plotly is missing."""
    try:
        import plotly.offline  # noqa: F401
    except ImportError as error:
        raise UserError(
            'the report needs plotly; install it by: pip install "mmlayerwise[report]"'
        ) from error


def write_report(data: ReportData, path: str | os.PathLike) -> None:
    """Write the page, whole or not at all.

    Args:
        data: What to show.
        path: The file to write.

    Raises:
        UserError: If plotly is not installed.
    """
    page = render_report(data)
    with write_atomically(path) as temporary:
        temporary.write_text(page, encoding='utf-8')


def render_report(data: ReportData) -> str:
    """Make the page; it loads nothing from elsewhere.

    Args:
        data: What to show; all names are taken as text, never as HTML.

    Raises:
        UserError: If plotly is not installed.
    """
    check_plotly()
    from plotly.offline import get_plotlyjs

    parts = {
        'title': html.escape(data.title),
        'style': _asset('page.css'),
        'plotly': get_plotlyjs(),
        'script': _asset('page.js'),
        'data': _for_script(payload(data)),
    }
    page = _asset('page.html')
    # Piece by piece: what one part holds is never searched for the mark of another.
    pieces = []
    while '{{' in page:
        before, _, rest = page.partition('{{')
        name, _, page = rest.partition('}}')
        pieces += [before, parts[name]]
    return ''.join([*pieces, page])


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding='utf-8')


def _for_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':'))
    for character in '<>&\u2028\u2029':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return text


def payload(data: ReportData) -> dict[str, Any]:
    """What the script of the page works with, ready for JSON."""
    layers = data.record.layers()
    classes = figures.heat_map_classes(data.record.measurements)
    shown = _shown_steps(len(data.record.measurements), len(layers) * len(classes))
    measurements = [data.record.measurements[number] for number in shown]
    last = measurements[-1]
    scale = figures.class_index_range(measurements)
    notes = list(data.notes)
    if len(shown) < len(data.record.measurements):
        notes.append(f'{len(shown)} of {len(data.record.measurements)} measurements are shown.')
    if len(classes) == figures.MAX_CLASSES:
        notes.append(f'The map shows the {len(classes)} classes with most samples.')
    notes += _failures(data)
    found = {
        'layers': layers,
        'classes': [figures.chart_text(name) for name in classes],
        'samplesAre': last.profile.samples,
        'bySize': any(layer.per_size for one in measurements for layer in one.profile.layers),
        'steps': [
            {
                'name': data.steps[number],
                'index': figures.index_traces(one, layers) + figures.size_traces(one, layers),
                'parts': _parts(one, layers),
                'classes': figures.class_traces(one, layers, classes, scale) if classes else None,
                'table': _table(one, layers),
            }
            for number, one in zip(shown, measurements, strict=True)
        ],
        'layouts': {
            'index': figures.index_layout(measurements, layers),
            'classes': figures.class_layout(layers, classes),
            'projection': figures.projection_layout(),
        },
        'cost': None,
        'classNames': {str(label): name for label, name in data.class_names.items()},
        'samples': [[one.image, one.picture] for one in data.samples],
        'views': {name: _view(view) for name, view in data.views.items()},
        'configuration': data.configuration,
        'settings': {
            name: str(value) for name, value in data.record.settings.items() if value is not None
        },
        'environment': _flat(data.environment),
        'notes': notes,
    }
    if data.cost is not None:
        found['layouts']['cost'] = figures.cost_layout(layers, data.cost)
        found['cost'] = {
            'traces': figures.cost_traces(last, layers, data.cost),
            'parameters': figures.big_number(data.cost.parameters),
            'flops': figures.big_number(data.cost.flops) if data.cost.flops else None,
            'table': [_cost_cells(data.cost.layers.get(name)) for name in layers],
            'flagged': figures.dispensable(last, layers, data.cost),
        }
    return found


def _shown_steps(count: int, cells: int) -> list[int]:
    """Numbers of the measurements that fit the page: evenly spread, with the first and the last."""
    room = max(2, min(MAX_STEPS, MAX_CELLS // max(1, cells)))
    if count <= room:
        return list(range(count))
    return sorted({round(step * (count - 1) / (room - 1)) for step in range(room)})


def _failures(data: ReportData) -> list[str]:
    last = data.record.measurements[-1].profile
    notes = [f'{one.name} could not be measured: {one.error}' for one in last.layers if one.error]
    sketched = [one for one in last.layers if one.sketch_dimension]
    if sketched:
        error = 100 * max(one.distortion for one in sketched)
        notes.append(
            f'Measured on sketches, by which distances err by up to {error:.0f} %: '
            f'{", ".join(one.name for one in sketched)}.'
        )
    if last.skipped:
        notes.append(f'Without {last.samples} samples, so left out: {", ".join(last.skipped)}.')
    return notes


def _table(one: Any, layers: list[str]) -> list[list[float | int] | None]:
    """Rows of the table: index, interval, chance, soft, centre, change, samples."""
    known = {layer.name: layer for layer in one.profile.layers if layer.index is not None}
    changes = figures.gains(one, layers)
    rows = []
    for name, change in zip(layers, changes, strict=True):
        entry = known.get(name)
        numbers = entry and [
            entry.index, *entry.interval, entry.chance, entry.soft, entry.center, change,
        ]  # fmt: skip
        rows.append(
            entry and [*(None if v is None else round(v, 4) for v in numbers), entry.num_samples]
        )
    return rows


def _parts(one: Any, layers: list[str]) -> list[str]:
    """What is known of a layer beside its numbers: level of the pyramid, index per size."""
    known = {layer.name: layer for layer in one.profile.layers}
    texts = []
    for name in layers:
        entry = known.get(name)
        parts = []
        if entry is not None and entry.level is not None:
            parts.append(f'pyramid level {entry.level}')
        if entry is not None:
            parts += [
                f'{size} objects {index:.3f} ({count:,})'
                for size, (index, count) in entry.per_size.items()
            ]
            parts += [f'{index} {value:.3f}' for index, value in entry.indices.items()]
        texts.append(', '.join(parts))
    return texts


def _cost_cells(cost: LayerCost | None) -> list[str]:
    values = (None, None) if cost is None else (cost.parameters, cost.flops)
    return ['' if value is None else figures.big_number(value) for value in values]


def _view(view: Any) -> dict[str, Any]:
    return {
        'samples': view.samples,
        'labels': view.labels,
        'x': view.x,
        'y': view.y,
        'explained': [round(share, 3) for share in view.explained],
        'pairs': [
            [one.sample, one.neighbor, one.label, one.neighbor_label, one.distance]
            for one in view.pairs
        ],
    }


def _flat(values: dict, prefix: str = '') -> dict[str, str]:
    """Nested settings as lines of a table."""
    lines: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            lines.update(_flat(value, prefix if name == 'versions' else f'{prefix}{name} '))
        elif value is not None:
            lines[f'{prefix}{name}'] = str(value)
    return lines
