import json
import re

import numpy as np
import pytest
import torch

from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.plan import CompressionPlan, Cost, Savings, Step
from mmlayerwise.visualization.compression_report import (
    CompressionPage,
    index_figure,
    render_compression_report,
    summary,
    write_compression_report,
)


def _agreement(right: int) -> Agreement:
    return Agreement(torch.arange(40) < right, 0.23)


@pytest.fixture
def page() -> CompressionPage:
    step = Step('channels', 'a<b>', 3, 8, 'second', 0.9, 0.875, (0.7, 0.95), note='why & how')
    plan = CompressionPlan(
        'f' * 64,
        cut='second',
        channels={'a<b>': [0, 1, 5]},
        steps=[step],
        savings=Savings(Cost(1000, 2e6, 4000), Cost(250, 1e6, 1000)),
        settings={'seed': 3},
    )
    return CompressionPage(
        title='Compression of <vgg>',
        plan=plan,
        blocks=[
            ('first', _agreement(20)),
            ('second', _agreement(36)),
            ('third', _agreement(35)),
        ],
        blocks_after=[('first', _agreement(22)), ('second', _agreement(34))],
        refused={'head': 'they are outputs'},
        before={'top1': 90.0, 'mIoU': np.float32(20.5), 'epoch': 'n/a'},
        after={'top1': 89.5, 'mIoU': np.float32(20.0), 'epoch': 'n/a'},
        environment={'python': '3.11'},
    )


def test_comparison_has_cost_and_metrics(page):
    assert page.comparison() == [
        ('parameters', '1,000', '250', '25.0% stay'),
        ('FLOPs (multiply-adds)', '2,000,000', '1,000,000', '50.0% stay'),
        ('bytes of weights', '4,000', '1,000', '25.0% stay'),
        ('top1', '90.0000', '89.5000', '-0.5000'),
        ('mIoU', '20.5000', '20.0000', '-0.5000'),
    ]
    assert page.table_lines()[1].split() == ['parameters', '1,000', '250', '25.0%', 'stay']


def test_figure_has_both_curves_and_the_cut(page):
    figure = index_figure(page)
    curves = {one['name']: one for one in figure['data'] if one.get('mode') == 'lines+markers'}
    assert list(curves['original']['y']) == [0.5, 0.9, 0.875]
    assert list(curves['compressed']['x']) == [0, 1]
    assert list(curves['compressed']['y']) == [0.55, 0.85]
    assert figure['layout']['shapes'][0]['x0'] == 1.5
    json.dumps(figure, allow_nan=False)


def test_names_are_text_and_never_html(page, tmp_path):
    write_compression_report(page, tmp_path / 'report.html')
    text = (tmp_path / 'report.html').read_text()
    body = text[: text.index('<script>')]
    assert 'a&lt;b&gt;' in body
    assert 'why &amp; how' in body
    assert 'Compression of &lt;vgg&gt;' in body
    assert '<b>' not in body
    assert '<vgg>' not in text


def test_strip_shows_which_channels_stay(page):
    text = render_compression_report(page)
    strip = re.search(r'<svg class="strip" viewBox="0 0 8 1".*?</svg>', text).group(0)
    assert re.findall(r'<rect x="(\d+)" y="0" width="(\d+)"', strip) == [('0', '2'), ('5', '1')]


def test_summary_tells_what_stays(page):
    assert summary(page) == (
        '25.0% of the parameters and 50.0% of the FLOPs stay. The network ends after second. '
        '1 layers lost channels.'
    )
    page.plan = CompressionPlan('f' * 64, savings=page.plan.savings)
    assert summary(page).startswith('Nothing went')


def test_names_may_be_broken_behind_their_dots_and_numbers_may_not(page):
    page.plan.steps[0].module = 'neck.lateral_convs.0.conv'
    page.plan.steps[0].note = 'held-out accuracy 0.907'
    text = render_compression_report(page)
    assert '<td class="name">neck.<wbr>lateral_convs.0.<wbr>conv</td>' in text
    assert '<td class="note">held-out accuracy 0.907</td>' in text
