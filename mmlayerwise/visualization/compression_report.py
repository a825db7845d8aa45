"""The report of a compression: one HTML file that loads nothing from elsewhere."""

import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import groupby
from numbers import Real
from typing import Any

from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.head_fit import FittedHead
from mmlayerwise.compression.plan import CompressionPlan, Step
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.report.figures import (
    BAND,
    BLUE,
    CHANCE,
    VERMILION,
    chart_text,
    layout,
)
from mmlayerwise.visualization.report.page import check_plotly

_STYLE = """
main > section { overflow-x: auto; }
thead th { white-space: normal; vertical-align: bottom; }
.strip { display: block; width: 100%; min-width: 120px; height: 16px; background: #e9edf1; }
td.wide { min-width: 120px; width: 18%; }
th.text, td.name { text-align: left; }
td.name, td.note { white-space: normal; overflow-wrap: normal; }
td.note { text-align: left; min-width: 90px; }
tr.total td { font-weight: 600; }
@media (max-width: 760px) {
  table { font-size: .8rem; }
  th, td { padding-inline: 4px; }
  td:first-child { white-space: normal; }
}
"""
# Where a name or path may go on in the next line: behind a dot or slash, not in a number.
_BREAKS = re.compile(r'([./])(?=[^\W\d])')
# Columns of words, which begin on the left as their cells do.
_WORDS = ('layer', 'which', 'index of', 'note', 'why', 'block')


@dataclass
class CompressionPage:
    """What the report shows.

    Attributes:
        title: Headline.
        plan: What went, with savings and steps.
        blocks: Block -> separation in the original, in execution order.
        blocks_after: The same in the compressed model, as far as the blocks are still there.
        refused: Layer -> why it was not considered.
        before: Metrics of the original on the test data.
        after: Likewise of the compressed model.
        head: The search for a new fully connected part.
        environment: See :func:`mmlayerwise.utils.environment.describe_environment`.
    """

    title: str
    plan: CompressionPlan
    blocks: Sequence[tuple[str, Agreement]]
    blocks_after: Sequence[tuple[str, Agreement]] = ()
    refused: dict[str, str] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    head: FittedHead | None = None
    environment: dict[str, Any] = field(default_factory=dict)

    def comparison(self) -> list[tuple[str, str, str, str]]:
        """Rows (what, before, after, change): cost and metrics."""
        rows = []
        savings = self.plan.savings
        for kind, title in (
            ('parameters', 'parameters'),
            ('flops', 'FLOPs (multiply-adds)'),
            ('bytes', 'bytes of weights'),
        ):
            old, new = getattr(savings.before, kind), getattr(savings.after, kind)
            if old is None or new is None:
                continue
            kept = f'{new / old:.1%} stay' if old else ''
            rows.append((title, f'{old:,.0f}', f'{new:,.0f}', kept))
        for name, old in self.before.items():
            new = self.after.get(name)
            # Real: mmseg's metrics are of NumPy's types.
            if isinstance(old, Real) and isinstance(new, Real):
                rows.append((name, f'{old:.4f}', f'{new:.4f}', f'{new - old:+.4f}'))
        return rows

    def table_lines(self) -> list[str]:
        """The comparison as text."""
        rows = [('', 'before', 'after', ''), *self.comparison()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return [
            f'{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  '
            f'{row[3]:>{widths[3]}}'.rstrip()
            for row in rows
        ]


def write_compression_report(page: CompressionPage, path: str | os.PathLike) -> None:
    """Write the page, whole or not at all.

    Args:
        page: What to show.
        path: The file.

    Raises:
        UserError: If plotly is not installed.
    """
    text = render_compression_report(page)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def render_compression_report(page: CompressionPage) -> str:
    """Make the page; all names are taken as text, never as HTML.

    Raises:
        UserError: If plotly is not installed.
    """
    check_plotly()
    from plotly.offline import get_plotlyjs

    title = html.escape(page.title)
    style = files('mmlayerwise.visualization.report').joinpath('page.css').read_text('utf-8')
    chart = json.dumps(index_figure(page), allow_nan=False).replace('<', '\\u003c')
    sections = [
        _section('before', 'Before and after', _comparison(page)),
        _section('index', 'Separation index of the blocks', _index(page)),
        _section('stayed', 'What stayed, layer by layer', _stayed(page.plan)),
        _section('head', 'The new fully connected part', _head(page.head)) if page.head else '',
        _section('refused', 'Not considered', _refused(page.refused)) if page.refused else '',
        _section('about', 'How this was made', _about(page)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n'
        f'<style>\n{style}{_STYLE}</style>\n</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the results</a>\n'
        f'<header><h1>{title}</h1><p>{html.escape(summary(page))}</p></header>\n'
        f'<main id="main">\n{"".join(sections)}</main>\n'
        f'<script>{get_plotlyjs()}</script>\n<script>\nconst figure = {chart};\n'
        "Plotly.newPlot('index-chart', figure.data, figure.layout, "
        '{responsive: true, displayModeBar: false});\n</script>\n</body>\n</html>\n'
    )


def summary(page: CompressionPage) -> str:
    """One sentence on what was gained."""
    plan, savings = page.plan, page.plan.savings
    if plan.empty:
        return 'Nothing went: all of the network adds to the index.'
    parts = [
        f'{savings.kept(kind):.1%} of the {word}'
        for kind, word in (('parameters', 'parameters'), ('flops', 'FLOPs'))
        if savings.kept(kind) is not None
    ]
    text = f'{" and ".join(parts)} stay.'
    if plan.cut:
        text += f' The network ends after {plan.cut}.'
    if plan.channels:
        text += f' {len(plan.channels)} layers lost channels.'
    return text


def index_figure(page: CompressionPage) -> dict[str, Any]:
    """Index of each block before and after, with intervals, chance and the cut."""
    names = [name for name, _ in page.blocks]
    places = {name: place for place, name in enumerate(names)}
    original = [found for _, found in page.blocks]
    data = _curve(list(range(len(names))), names, original, 'original', BLUE, band=True)
    data.append(
        dict(
            type='scatter',
            x=list(range(len(names))),
            y=[round(found.chance, 4) for found in original],
            name='chance',
            mode='lines' if len(names) > 1 else 'markers',
            line=dict(color=CHANCE, dash='dash', width=1.5),
            hoverinfo='skip',
        )
    )
    after = [(name, found) for name, found in page.blocks_after if name in places]
    if after:
        data += _curve(
            [places[name] for name, _ in after],
            [name for name, _ in after],
            [found for _, found in after],
            'compressed',
            VERMILION,
        )
    look = layout(names, 'separation index')
    look['height'] = 420
    look['xaxis'].update(
        tickvals=list(range(len(names))), ticktext=[chart_text(name) for name in names]
    )
    look['yaxis'].update(rangemode='tozero')
    if page.plan.cut in places:
        place = places[page.plan.cut] + 0.5
        line = dict(color=VERMILION, width=2, dash='dot')
        look['shapes'] = [
            dict(type='line', x0=place, x1=place, y0=0, y1=1, yref='paper', line=line)
        ]
        look['annotations'] = [
            dict(x=place, y=0.02, yref='paper', text='cut', showarrow=False, xanchor='left')
        ]
    return {'data': data, 'layout': look}


def _curve(
    places: list[int],
    names: list[str],
    found: list[Agreement],
    title: str,
    color: str,
    band: bool = False,
) -> list[dict[str, Any]]:
    low, high = zip(*(one.interval() for one in found), strict=True)
    hover = [
        [chart_text(name), round(lower, 4), round(upper, 4), one.num_samples]
        for name, lower, upper, one in zip(names, low, high, found, strict=True)
    ]
    edge = dict(type='scatter', mode='lines', line=dict(width=0), hoverinfo='skip', x=places)
    edges = [
        dict(edge, y=low, showlegend=False),
        dict(edge, y=high, fill='tonexty', fillcolor=BAND, name='95 % interval'),
    ]
    line = dict(
        type='scatter',
        x=places,
        y=[round(one.index, 4) for one in found],
        name=title,
        mode='lines+markers',
        line=dict(color=color, width=2.5),
        marker=dict(color=color, size=7),
        customdata=hover,
        hovertemplate='<b>%{customdata[0]}</b><br>index %{y:.3f} (95 %: %{customdata[1]:.3f} to '
        f'%{{customdata[2]:.3f}})<br>%{{customdata[3]:,}} samples, {title}<extra></extra>',
    )
    return [*(edges if band else []), line]


def _section(name: str, title: str, body: str) -> str:
    return (
        f'<section aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}'
        '</section>\n'
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    top = ''.join(
        f'<th scope="col"{" class=text" if cell in _WORDS else ""}>{html.escape(cell)}</th>'
        for cell in head
    )
    body = ''.join(f'<tr>{"".join(row)}</tr>' for row in rows)
    return f'<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _cell(text: object, kind: str = '') -> str:
    mark = f' class="{kind}"' if kind else ''
    shown = html.escape(str(text))
    if kind:
        shown = _BREAKS.sub(r'\1<wbr>', shown)
    return f'<td{mark}>{shown}</td>'


def _comparison(page: CompressionPage) -> str:
    rows = [[_cell(cell) for cell in row] for row in page.comparison()]
    note = ''
    if not page.before:
        note = '<p class="caption">The models were not tested.</p>'
    return _table(('', 'before', 'after', ''), rows) + note


def _index(page: CompressionPage) -> str:
    rows = [
        [
            _cell(name, 'name'),
            _cell(f'{found.index:.4f}'),
            _cell('{:.3f} - {:.3f}'.format(*found.interval())),
            _cell(f'{found.chance:.3f}'),
            _cell(f'{dict(page.blocks_after)[name].index:.4f}')
            if name in dict(page.blocks_after)
            else _cell(''),
        ]
        for name, found in page.blocks
    ]
    table = _table(('block', 'original', '95 % interval', 'chance', 'compressed'), rows)
    return (
        '<p class="caption">The share of samples whose nearest neighbour, seen through the block, '
        'is of their own class, on the training images that the plan was made on. Where it rises '
        'no more, the network may end.</p><div id="index-chart" class="chart" role="img" '
        'aria-label="Index of every block; the table below holds the numbers"></div>'
        f'<details><summary>The numbers as a table</summary>{table}</details>'
    )


def _stayed(plan: CompressionPlan) -> str:
    if not plan.steps:
        return '<p class="caption">All layers stayed as they were.</p>'
    rows = [
        [
            _cell({'cut': 'end', 'head': 'new head'}.get(step.kind, step.kind)),
            _cell(step.module, 'name'),
            _cell(f'{step.kept:,} of {step.total:,}'),
            f'<td class="wide">{_strip(plan, step)}</td>',
            _cell(f'{step.before:.4f}'),
            _cell(f'{step.after:.4f}'),
            _cell('{:.3f} - {:.3f}'.format(*step.interval)),
            _cell('yes' if step.significant else 'no'),
            _cell(step.index_layer, 'note'),
            _cell(step.note, 'note'),
        ]
        for step in plan.steps
    ]
    head = (
        'what', 'layer', 'stay', 'which', 'index before', 'after', '95 % interval', 'significant',
        'index of', 'note',
    )  # fmt: skip
    return (
        '<p class="caption">In the order of the decisions. The bars show which channels of a layer '
        'stay (dark), from the first on the left to the last on the right.</p>' + _table(head, rows)
    )


def _strip(plan: CompressionPlan, step: Step) -> str:
    """Which channels stay, as one bar."""
    kept = plan.channels.get(step.module)
    if kept is None:
        width, runs = max(1, step.total), [(0, step.kept)]
    else:
        # The bar needs the number of all channels, also of those of a coupled layer.
        width = max(step.total, kept[-1] + 1)
        runs = _runs(kept)
    bars = ''.join(
        f'<rect x="{start}" y="0" width="{length}" height="1"/>' for start, length in runs
    )
    label = f'{step.kept} of {step.total} stay'
    return (
        f'<svg class="strip" viewBox="0 0 {width} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}" fill="{BLUE}" shape-rendering="crispEdges">{bars}</svg>'
    )


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, length) of consecutive ones."""
    found = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        found.append((run[0], len(run)))
    return found


def _head(head: FittedHead) -> str:
    rows = [
        [
            _cell(one.hidden or 'none'),
            _cell(f'{one.parameters:,}'),
            _cell(f'{one.center:.4f}'),
            _cell(f'{one.accuracy:.4f}'),
            _cell('taken' if one is head.chosen else ''),
        ]
        for one in head.candidates
    ]
    return (
        f'<p class="caption">Learned on training images, judged on {head.num_held_out:,} of them '
        'that were held out. The smallest part whose measure is within the tolerance of the best '
        'is taken.</p>'
        + _table(('hidden width', 'parameters', 'centre-based index', 'accuracy', ''), rows)
    )


def _refused(refused: dict[str, str]) -> str:
    rows = [[_cell(name, 'name'), _cell(reason, 'note')] for name, reason in refused.items()]
    return _table(('layer', 'why'), rows)


def _about(page: CompressionPage) -> str:
    rows = []
    for name, value in {**page.plan.settings, **page.environment}.items():
        shown = json.dumps(value) if isinstance(value, dict | list) else value
        rows.append([_cell(name), _cell(shown, 'note')])
    return _table(('', ''), rows)
