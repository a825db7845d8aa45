import sys

import pytest

from tests.test_tools.tools import ROOT, load_tool, run_process

TOOL = ROOT / 'tools' / 'dev' / 'reproduce.py'


def test_help_lists_tables_presets_and_examples():
    done = run_process([sys.executable, TOOL, '--help'])
    assert done.returncode == 0
    for part in ('first-layer', 'forward-layers', 'layer-wise', 'text', 'reduced', '--seeds'):
        assert part in done.stdout


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['table-5'], "error: there is no table 'table-5'; there are: first-layer, "),
        (['text', '--preset', 'tiny'], "there is no preset 'tiny'"),
        (['first-layer', '--models', 'resnet'], "first-layer has no model 'resnet'"),
        (['first-layer', '--epochs', '0'], 'epochs must be positive, but is 0'),
        (['first-layer', '--render-only', '--out', '/nowhere'], 'no result in /nowhere/runs yet'),
    ],
)
def test_mistakes_are_one_message(arguments, message):
    tool = load_tool('dev/reproduce')
    with pytest.raises(SystemExit) as stopped:
        tool.main(arguments)
    assert message in str(stopped.value)


def test_missing_data_tells_the_command_that_downloads_it(tmp_path, monkeypatch):
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(tmp_path))
    tool = load_tool('dev/reproduce')
    with pytest.raises(SystemExit, match=r'download_dataset\.py cifar10`'):
        tool.main(['first-layer', '--out', str(tmp_path / 'out')])
