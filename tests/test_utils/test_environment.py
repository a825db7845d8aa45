import json
import sys

import numpy
import torch

from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.version import __version__


def test_it_names_the_versions_that_are_installed():
    versions = describe_environment()['versions']
    assert versions['mmlayerwise'] == __version__
    assert versions['numpy'] == numpy.__version__
    assert 'no-such-package' not in versions


def test_it_serialises_and_counts_the_threads_in_use():
    description = json.loads(json.dumps(describe_environment()))
    assert description['torch_threads'] == torch.get_num_threads()
    assert description['cores'] >= 1
    assert description['processor']


def test_the_command_is_relative_to_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [str(tmp_path / 'tools' / 'run.py'), '--seed', '0'])
    assert describe_environment()['command'] == 'python tools/run.py --seed 0'


def test_a_script_from_elsewhere_is_named_without_its_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['/somewhere/else/run.py'])
    assert describe_environment()['command'] == 'python run.py'
