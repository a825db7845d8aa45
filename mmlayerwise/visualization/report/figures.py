"""Charts of the report as plotly traces and layouts, in plain dicts.

Text that came from outside (names of layers and classes) goes through :func:`chart_text`, because
plotly reads a little HTML in every text.
"""

import html
from collections.abc import Sequence
from math import ceil, floor

from mmlayerwise.separation.profile import LayerSeparation
from mmlayerwise.separation.record import Measurement
from mmlayerwise.visualization.report.data import LayerCost, ModelCost

INK, GRID, CHANCE = '#1f2933', '#e3e8ee', '#5c6773'
BLUE, BAND, VERMILION, SKY = '#0b5394', 'rgba(11,83,148,0.20)', '#c8500a', '#8fb8d8'
# Objects by size: name, colour, symbol.
SIZES = (
    ('small', '#c8500a', 'triangle-down'),
    ('medium', '#00795a', 'square'),
    ('large', '#5c4a9c', 'diamond'),
)
# Classes of the heat map; of more, those with most samples are shown.
MAX_CLASSES = 200

Trace = dict
Layout = dict


def chart_text(text: str) -> str:
    """Make text that plotly shows as it is."""
    return html.escape(str(text), quote=False)


def short_name(name: str, length: int) -> str:
    """The beginning of a long name."""
    return name if len(name) <= length else f'{name[: length - 1]}…'


def layout(layers: Sequence[str], y_title: str, **more: object) -> Layout:
    """The look that all charts over the layers share."""
    axis = dict(gridcolor=GRID, zeroline=False, automargin=True)
    return dict(
        template='none',
        font=dict(family='system-ui, sans-serif', size=13, color=INK),
        margin=dict(l=52, r=12, t=34, b=40),
        paper_bgcolor='#fff',
        plot_bgcolor='#fff',
        hoverdistance=60,  # fingers are broad
        hoverlabel=dict(align='left', namelength=0),
        legend=dict(orientation='h', x=0, y=1.02, yanchor='bottom', traceorder='normal'),
        xaxis=dict(axis, range=[-0.5, len(layers) - 0.5], tickangle=-60, tickfont=dict(size=11)),
        yaxis=dict(axis, title=dict(text=y_title)),
        **more,
    )


def _entries(one: Measurement, layers: Sequence[str]) -> list[LayerSeparation | None]:
    known = {layer.name: layer for layer in one.profile.layers if layer.index is not None}
    return [known.get(name) for name in layers]


def index_traces(one: Measurement, layers: Sequence[str]) -> list[Trace]:
    """Index per layer with its interval and the chance level.

    Layers that were not measured leave a gap.
    """
    entries = _entries(one, layers)
    places = list(range(len(layers)))
    low = [None if e is None else round(e.interval[0], 4) for e in entries]
    high = [None if e is None else round(e.interval[1], 4) for e in entries]
    index = [None if e is None else round(e.index, 4) for e in entries]
    chance = [None if e is None else round(e.chance, 4) for e in entries]
    hover = [
        [chart_text(name), lower, upper, level, entry.num_samples if entry else 0]
        for name, lower, upper, level, entry in zip(layers, low, high, chance, entries, strict=True)
    ]
    edge = dict(mode='lines', line=dict(width=0), hoverinfo='skip', x=places)
    return [
        dict(type='scatter', y=low, showlegend=False, **edge),
        dict(type='scatter', y=high, fill='tonexty', fillcolor=BAND, name='95 % interval', **edge),
        dict(
            type='scatter',
            x=places,
            y=chance,
            name='chance',
            mode='lines' if len(layers) > 1 else 'markers',
            line=dict(color=CHANCE, dash='dash', width=1.5),
            marker=dict(color=CHANCE, symbol='line-ew-open', size=18),
            hoverinfo='skip',
        ),
        dict(
            type='scatter',
            x=places,
            y=index,
            name='index',
            legendrank=1,  # before the band and the line behind it
            mode='lines+markers',
            line=dict(color=BLUE, width=2.5),
            marker=dict(color=BLUE, size=7 if len(layers) <= 80 else 5),
            error_y=dict(
                type='data',
                symmetric=False,
                array=_differences(high, index),
                arrayminus=_differences(index, low),
                visible=len(layers) <= 30,
                thickness=1,
                width=3,
                color=BLUE,
            ),
            customdata=hover,
            hovertemplate='<b>%{customdata[0]}</b><br>index %{y:.3f} '
            '(95 %: %{customdata[1]:.3f} to %{customdata[2]:.3f})<br>'
            'chance %{customdata[3]:.3f}<br>%{customdata[4]:,} samples<extra></extra>',
        ),
    ]


def size_traces(one: Measurement, layers: Sequence[str]) -> list[Trace]:
    """Index per layer of small, medium and large objects, hidden until asked for in the legend."""
    entries = _entries(one, layers)
    traces = []
    for name, color, symbol in SIZES:
        found = [None if e is None else e.per_size.get(name) for e in entries]
        if not any(found):
            continue
        traces.append(
            dict(
                type='scatter',
                x=list(range(len(layers))),
                y=[None if each is None else round(each[0], 4) for each in found],
                name=name,
                mode='lines+markers',
                visible='legendonly',
                line=dict(color=color, width=1.5, dash='dot'),
                marker=dict(color=color, symbol=symbol, size=7),
                customdata=[
                    [chart_text(layer), None if each is None else each[1]]
                    for layer, each in zip(layers, found, strict=True)
                ],
                hovertemplate=f'<b>%{{customdata[0]}}</b><br>{name} objects: index %{{y:.3f}}<br>'
                '%{customdata[1]:,} samples<extra></extra>',
            )
        )
    return traces


def _differences(
    upper: Sequence[float | None], lower: Sequence[float | None]
) -> list[float | None]:
    return [None if a is None else round(a - b, 4) for a, b in zip(upper, lower, strict=True)]


def index_layout(measurements: Sequence[Measurement], layers: Sequence[str]) -> Layout:
    """Axes that fit every step, so that moving the slider compares like with like."""
    values = [
        value
        for one in measurements
        for entry in _entries(one, layers)
        if entry is not None
        for value in (*entry.interval, entry.chance, *(size[0] for size in entry.per_size.values()))
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.06 * max(high - low, 0.1)
    found = layout(layers, 'separation index', height=420)
    found['yaxis']['range'] = [max(-0.02, low - margin), min(1.02, high + margin)]
    return found


def heat_map_classes(measurements: Sequence[Measurement]) -> list[str]:
    """Names of the classes to show, in the order of their labels as far as known."""
    sizes: dict[str, int] = {}
    for one in measurements:
        for layer in one.profile.layers:
            for name, (_, count) in layer.per_class.items():
                sizes[name] = max(sizes.get(name, 0), count)
    kept = sorted(sizes, key=sizes.get, reverse=True)[:MAX_CLASSES]
    return [name for name in sizes if name in set(kept)]


def class_index_range(measurements: Sequence[Measurement]) -> tuple[float, float]:
    """Where the scale of colours begins and ends: tenths that enclose the index of every class."""
    shares = [
        share
        for one in measurements
        for layer in one.profile.layers
        for share, _ in layer.per_class.values()
    ]
    low, high = min(shares, default=0.0), max(shares, default=1.0)
    low = min(0.9, floor(10 * low) / 10)
    return low, max(low + 0.1, ceil(10 * high) / 10)


def class_traces(
    one: Measurement,
    layers: Sequence[str],
    classes: Sequence[str],
    scale: tuple[float, float] = (0.0, 1.0),
) -> list[Trace]:
    """Heat map of the index per class (rows) and layer (columns).

    Args:
        one: The measurement.
        layers: The columns.
        classes: The rows.
        scale: Where the scale of colours begins and ends, the same for all measurements.
    """
    entries = _entries(one, layers)

    def table(part: int) -> list[list[float | None]]:
        return [
            [
                entry.per_class[name][part] if entry and name in entry.per_class else None
                for entry in entries
            ]
            for name in classes
        ]

    shares = [[None if value is None else round(value, 3) for value in row] for row in table(0)]
    return [
        dict(
            type='heatmap',
            x=list(range(len(layers))),
            y=list(range(len(classes))),
            z=shares,
            zmin=scale[0],
            zmax=scale[1],
            colorscale='Cividis',
            colorbar=dict(thickness=12, title=dict(text='index', side='right')),
            xgap=1 if len(layers) <= 60 else 0,
            ygap=1 if len(classes) <= 60 else 0,
            customdata=table(1),
            hoverongaps=False,
            # The page fills in the text of each cell, its class and layer: thousands of names less.
            hovertemplate='%{text}<br>index %{z:.3f} of %{customdata:,} samples<extra></extra>',
        )
    ]


def class_layout(layers: Sequence[str], classes: Sequence[str]) -> Layout:
    """Rows of readable height; the first class is on top."""
    height = min(1400, max(220, 18 * len(classes) + 150))
    found = layout(layers, '', height=height)
    every = max(1, -(-len(classes) // 70))
    shown = range(0, len(classes), every)
    found['yaxis'].update(
        autorange='reversed',
        tickvals=list(shown),
        ticktext=[chart_text(short_name(classes[k], 18)) for k in shown],
        tickfont=dict(size=11),
    )
    return found


def gains(one: Measurement, layers: Sequence[str]) -> list[float | None]:
    """What each layer adds to the index of the measured layer before it."""
    found: list[float | None] = []
    before = None
    for entry in _entries(one, layers):
        if entry is None:
            found.append(None)
            continue
        found.append(None if before is None else entry.index - before)
        before = entry.index
    return found


def adds_nothing(one: Measurement, layers: Sequence[str]) -> list[bool]:
    """Whether a layer's index does not lie above the interval of the measured layer before it."""
    found = []
    before: LayerSeparation | None = None
    for entry in _entries(one, layers):
        found.append(entry is not None and before is not None and entry.index <= before.interval[1])
        before = entry or before
    return found


def dispensable(one: Measurement, layers: Sequence[str], cost: ModelCost) -> list[bool]:
    """Layers that add nothing and cost more than the mean layer, in FLOPs or in parameters."""
    costs = [cost.layers.get(name, LayerCost()) for name in layers]
    dear = [False] * len(layers)
    for kind in ('flops', 'parameters'):
        values = [getattr(each, kind) for each in costs]
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if known else 0
        dear = [
            flag or (value is not None and value > mean)
            for flag, value in zip(dear, values, strict=True)
        ]
    idle = adds_nothing(one, layers)
    return [a and b for a, b in zip(idle, dear, strict=True)]


def cost_traces(one: Measurement, layers: Sequence[str], cost: ModelCost) -> list[Trace]:
    """Bars of each layer's share of FLOPs (upper axis) and of parameters (lower axis)."""
    costs = [cost.layers.get(name, LayerCost()) for name in layers]
    flagged = dispensable(one, layers, cost)
    added = gains(one, layers)
    traces = []
    for kind, title, total, axis in (
        ('flops', 'FLOPs', cost.flops, 'y'),
        ('parameters', 'parameters', cost.parameters, 'y2'),
    ):
        if not total:
            continue
        values = [getattr(each, kind) for each in costs]
        hover = [
            f'<b>{chart_text(name)}</b><br>{title} {"unknown" if v is None else big_number(v)}'
            f'<br>index {"" if gain is None else f"{gain:+.3f} "}'
            f'{"(first layer)" if gain is None else "since the layer before"}'
            f'{"<br><b>costly, adds nothing</b>" if flag else ""}'
            for name, v, gain, flag in zip(layers, values, added, flagged, strict=True)
        ]
        # Two traces, so that the legend tells the colours; the pattern serves those who see none.
        for marked, name, color, pattern in (
            (False, 'other layers', SKY, ''),
            (True, 'costly, adds nothing', VERMILION, '/'),
        ):
            shares = [
                round(100 * v / total, 3) if v is not None and flag == marked else None
                for v, flag in zip(values, flagged, strict=True)
            ]
            traces.append(
                dict(
                    type='bar',
                    x=list(range(len(layers))),
                    y=shares,
                    yaxis=axis,
                    name=name,
                    legendgroup=name,
                    showlegend=axis == 'y2' or not cost.flops,
                    marker=dict(
                        color=color,
                        pattern=dict(shape=pattern, fillmode='overlay', fgcolor='#fff', size=6),
                    ),
                    text=hover,
                    textposition='none',
                    hovertemplate='%{text}<extra></extra>',
                )
            )
    return traces


def cost_layout(layers: Sequence[str], cost: ModelCost) -> Layout:
    """FLOPs above parameters, over one axis of layers."""
    found = layout(layers, 'FLOPs, %', barmode='overlay', height=480)
    found['yaxis2'] = dict(found['yaxis'], title=dict(text='parameters, %'))
    found['yaxis2'].update(rangemode='tozero', domain=[0, 0.45] if cost.flops else [0, 1])
    found['yaxis'].update(rangemode='tozero', domain=[0.55, 1])
    found['xaxis']['anchor'] = 'y2'
    if not cost.flops:
        found['yaxis']['visible'] = False
    return found


def big_number(value: float) -> str:
    """A count with a decimal prefix: 11.2 M."""
    for limit, unit in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value >= limit:
            return f'{value / limit:.3g} {unit}'
    return f'{value:.3g}'


def projection_layout() -> Layout:
    """Axes of equal scale, so that distances are what they look like."""
    found = layout(['', ''], 'second component', height=560, showlegend=False)
    found['xaxis'] = dict(found['yaxis'], title=dict(text='first component'))
    found['yaxis']['scaleanchor'] = 'x'
    return found
