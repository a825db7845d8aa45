import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'compress.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('compress_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_help_tells_what_the_folder_holds(tool, capsys):
    with pytest.raises(SystemExit) as caught:
        tool.parse_args(['--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in ('weights.pth', 'plan.json', '--budget', '--criterion', 'examples:'):
        assert word in text


def test_out_is_required(tool, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(['config.py', 'weights.pth'])
    assert '--out' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--budget', '2'], 'between 0 and 1; got 2.0'),
        (['--criterion', 'random'], 'give a budget'),
        (['--launcher', 'pytorch'], 'SeparationPruningHook'),
        ([], "config 'none.py' does not exist"),
    ],
)
def test_bad_input_is_one_message(tool, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        tool.main(['none.py', 'none.pth', '--out', 'small', *words])
    assert str(caught.value).startswith('error: ')
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_progress_has_one_bar_for_each_kind_of_work(tool):
    with tool.progress_bars() as show:
        show('Thinning layers (3 measurements)', 1, 4)
        show('Thinning layers (9 measurements)', 2, 4)
        show('Measuring the blocks', 1, 2)
        bars = show.__closure__[0].cell_contents
        assert [(task.completed, task.total) for task in bars.tasks] == [(2, 4), (1, 2)]
