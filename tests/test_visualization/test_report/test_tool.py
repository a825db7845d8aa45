import json
import re
import sys
from types import SimpleNamespace

import pytest

from mmlayerwise.plugins import BUILT_INS, Plugins, hookimpl
from mmlayerwise.separation.record import SeparationRecord
from tests.test_tools.tools import ROOT, TOY_CONFIG, load_tool, log_of
from tests.test_visualization.test_report.examples import measurement

tool = load_tool('analyze_separation')
CLASSIFICATION = str(ROOT / 'configs' / 'quickstart' / 'classification.py')
SMALL = ('--cfg-options', 'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False')


def run(*argv):
    tool.main([str(argument) for argument in argv])


def content_of(path):
    text = path.read_text(encoding='utf-8')
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</', text)[1])


def test_the_report_of_a_config(tmp_path):
    pytest.importorskip('plotly')
    earlier, out = tmp_path / 'run', tmp_path / 'out'
    names = ['backbone.layer1.1', 'neck[0]']
    SeparationRecord({}, [measurement(e, [0.2, 0.3], names) for e in (1, 2)]).save(
        earlier / 'separation.json'
    )
    run(
        CLASSIFICATION, '--out', out, '--run', earlier, '--max-samples', 40,
        '--indices', 'center_separation_index', *SMALL,
    )  # fmt: skip
    assert {path.name for path in out.iterdir()} >= {
        'report.html', 'separation.json', 'separation.png',
    }  # fmt: skip
    content = content_of(out / 'report.html')
    assert [step['name'] for step in content['steps']] == ['epoch 1', 'epoch 2', 'initial weights']
    record = SeparationRecord.load(out / 'separation.json')
    measured = record.measurements[0].profile
    for layer in measured.layers:
        row = content['steps'][-1]['table'][content['layers'].index(layer.name)]
        assert row[0] == pytest.approx(layer.index, abs=1e-4)
        assert layer.indices == {'center_separation_index': layer.center}
        shown = content['steps'][-1]['parts'][content['layers'].index(layer.name)]
        assert f'center_separation_index {layer.center:.3f}' in shown
        view = content['views'][layer.name]
        assert len(view['samples']) == 40
        for sample, neighbor, *_ in view['pairs']:
            assert content['samples'][sample][1].startswith('data:image/png;base64,')
            assert content['samples'][neighbor][1].startswith('data:image/')
    assert set(content['classNames'].values()) >= {'zero', 'nine'}
    assert content['cost']['flops'].endswith(' M')
    assert "type='ImageClassifier'" in content['configuration']


def test_renderers_of_plugins_are_asked_as_the_built_in_ones(tmp_path, monkeypatch):
    def write_titles(data, folder):
        path = folder / 'titles.txt'
        path.write_text(f'{data.title}: {len(data.views)} {len(data.record.measurements)}')
        return path

    own = SimpleNamespace(report_renderers=hookimpl(lambda: {'titles': write_titles}))
    plugins = Plugins(BUILT_INS)
    plugins._manager.register(own, name='own')
    assert plugins.provided('report_renderers').keys() == {'picture', 'report', 'titles'}
    monkeypatch.setattr('mmlayerwise.engine.analysis.installed_plugins', lambda: plugins)
    options = '--layers', 'auto', '--order', 2, '--work-dir'
    run(TOY_CONFIG, *options, tmp_path / 'a', '--render', 'titles')
    assert (tmp_path / 'a' / 'titles.txt').read_text().endswith('toy_config: 1 1')
    assert {path.name for path in (tmp_path / 'a').iterdir() if path.suffix} >= {
        'separation.json', 'titles.txt',
    }  # fmt: skip
    assert not (tmp_path / 'a' / 'separation.png').exists()
    assert f'titles:      {tmp_path}/a/titles.txt' in log_of(tmp_path / 'a')
    with pytest.raises(SystemExit) as failure:
        run(TOY_CONFIG, *options, tmp_path / 'b', '--render', 'tables')
    assert "'tables' is not among the report_renderers" in str(failure.value)
    assert 'picture, report, titles' in str(failure.value)


def test_vectors_have_no_pictures_and_the_page_says_why(tmp_path):
    pytest.importorskip('plotly')
    run(TOY_CONFIG, '--out', tmp_path, '--layers', 'auto', '--order', 2)
    content = content_of(tmp_path / 'report.html')
    assert all(picture is None for _, picture in content['samples'])
    assert any(note.startswith('There are no pictures') for note in content['notes'])
    assert len(content['views']['linear']['pairs']) > 0


def test_without_plotly_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'plotly', None)
    monkeypatch.setitem(sys.modules, 'plotly.offline', None)
    with pytest.raises(SystemExit) as failure:
        run(CLASSIFICATION, '--out', tmp_path, *SMALL)
    assert 'pip install "mmlayerwise[report]"' in str(failure.value)
    assert not list(tmp_path.iterdir())


def test_the_record_of_the_run_is_not_overwritten(tmp_path):
    pytest.importorskip('plotly')
    SeparationRecord({}, [measurement(1, [0.2])]).save(tmp_path / 'separation.json')
    with pytest.raises(SystemExit) as failure:
        run(CLASSIFICATION, '--out', tmp_path, '--run', tmp_path, *SMALL)
    assert 'choose another folder' in str(failure.value)
    assert len(SeparationRecord.load(tmp_path / 'separation.json').measurements) == 1


@pytest.mark.parametrize(
    'arguments', [('--run', 'x'), ('--out', 'x', '--work-dir', 'y')], ids=['run', 'two folders']
)
def test_options_that_do_not_fit_together_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        run(CLASSIFICATION, *arguments)
    assert '--out' in capsys.readouterr().err
