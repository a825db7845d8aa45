import importlib.util
import json
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmarks' / 'compression.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('benchmark_compression', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_times_a_model_before_and_after(tool, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'compression.json'
    arguments = ['--models', 'vgg16', '--share', '0.25', '--repeats', '1', '--out', str(path)]
    monkeypatch.setattr(sys, 'argv', ['compression.py', *arguments, '--threads', '1'])
    tool.main()
    found = json.loads(path.read_text())['results']['vgg16']
    assert found['multiply_adds_before'] == 313_725_952
    assert found['share_of_multiply_adds'] == pytest.approx(0.0625, abs=0.01)
    assert 0 < found['share_of_seconds'] < 1
    assert '25% of the channels' in capsys.readouterr().out


def test_refuses_a_share_that_is_none(tool, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['compression.py', '--share', '0'])
    with pytest.raises(tool.UserError, match='--share must be above 0'):
        tool.main()
