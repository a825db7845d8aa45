import json
import re
import sys
from html.parser import HTMLParser

import pytest

from mmlayerwise.utils.errors import UserError
from mmlayerwise.visualization.report import check_plotly, page, render_report, write_report
from tests.test_visualization.test_report.examples import report

NASTY = '</script><img src=x onerror="document.title=1"> & \u2028 {{data}}'


class Reader(HTMLParser):
    """Collects elements, and the text of those with an id."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.addresses, self.within = [], {}, [], None

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.within = values.get('id') if tag in ('script', 'title') else None
        self.addresses += [values[name] for name in ('src', 'href') if name in values]
        if tag == 'title':
            self.within = 'title'

    def handle_data(self, data):
        if self.within:
            self.texts[self.within] = self.texts.get(self.within, '') + data

    def handle_endtag(self, tag):
        self.within = None


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.fixture
def stub_plotly(monkeypatch):
    """Leave the megabytes of plotly.js out of pages that are only read."""
    offline = pytest.importorskip('plotly.offline')
    monkeypatch.setattr(offline, 'get_plotlyjs', lambda: 'window.Plotly = {};')


@pytest.mark.usefixtures('stub_plotly')
def test_names_stay_text_and_the_data_come_through_whole():
    data = report(3, classes=(NASTY, 'dog'), names=[f'{NASTY}{n}' for n in range(3)])
    data.title = data.configuration = NASTY
    data.notes = [NASTY]
    text = render_report(data)
    found = read(text)
    assert 'img' not in found.tags
    assert found.tags.count('script') == 3
    assert found.texts['title'] == NASTY
    content = json.loads(found.texts['data'])
    assert content['layers'] == [f'{NASTY}{n}' for n in range(3)]
    assert content['classNames'] == {'0': NASTY, '1': 'dog'}
    assert content['configuration'] == content['notes'][0] == NASTY


@pytest.mark.usefixtures('stub_plotly')
def test_nothing_is_loaded_from_elsewhere():
    text = render_report(report())
    assert all(address.startswith(('#', 'data:')) for address in read(text).addresses)
    assert not re.search(r'@import|url\(', text)


def test_steps_costs_and_views_are_in_the_data():
    content = page.payload(report(num_layers=2, num_steps=3))
    assert [step['name'] for step in content['steps']] == ['epoch 1', 'epoch 2', 'epoch 3']
    index, low, high, chance, *_, change, count = content['steps'][2]['table'][1]
    assert index == pytest.approx(0.95)
    assert low < index < high
    assert (chance, change, count) == (0.5, 0.5, 100)
    assert content['cost']['table'] == [['1 k', '5 M']] * 2
    assert content['cost']['parameters'] == '2 k'
    assert content['views']['backbone.layer1.conv']['explained'] == [0.4, 0.2]
    assert content['environment'] == dict(python='3.11', torch='2.13')
    assert content['settings'] == dict(layers='auto', seed='0')


def test_long_runs_are_thinned_and_the_note_says_so(monkeypatch):
    monkeypatch.setattr(page, 'MAX_STEPS', 4)
    content = page.payload(report(num_layers=2, num_steps=10))
    assert [step['name'] for step in content['steps']] == [
        f'epoch {number}' for number in (1, 4, 7, 10)
    ]
    assert '4 of 10 measurements are shown.' in content['notes']
    monkeypatch.setattr(page, 'MAX_CELLS', 8)
    assert len(page.payload(report(num_layers=2, num_steps=10))['steps']) == 2


def test_layers_that_failed_or_were_skipped_are_named():
    data = report(num_steps=1)
    profile = data.record.measurements[0].profile
    failed = profile.layers[1]
    failed.index, failed.interval, failed.error = None, None, 'NaN everywhere.'
    failed.per_class = {}
    profile.skipped = ['pool']
    content = page.payload(data)
    assert f'{failed.name} could not be measured: NaN everywhere.' in content['notes']
    assert 'Without image samples, so left out: pool.' in content['notes']
    assert content['steps'][0]['table'][1] is None


def test_a_report_without_costs_and_samples_is_possible():
    data = report(num_steps=1)
    data.cost, data.views, data.samples = None, {}, []
    content = page.payload(data)
    assert content['cost'] is None
    assert content['views'] == {}


def test_a_large_report_stays_below_15_megabytes(tmp_path):
    pytest.importorskip('plotly')
    classes = [f'class {number}' for number in range(80)]
    write_report(report(200, 12, classes, num_points=400), tmp_path / 'report.html')
    assert (tmp_path / 'report.html').stat().st_size < 15e6
    assert [path.name for path in tmp_path.iterdir()] == ['report.html']


def test_without_plotly_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'plotly', None)
    monkeypatch.setitem(sys.modules, 'plotly.offline', None)
    with pytest.raises(UserError, match=re.escape('pip install "mmlayerwise[report]"')):
        check_plotly()
    with pytest.raises(UserError):
        write_report(report(), tmp_path / 'report.html')
    assert not list(tmp_path.iterdir())
