import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
# One worker builds the wheel for all tests.
pytestmark = pytest.mark.xdist_group('wheel')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    # Built from a copy: setuptools leaves its build folder in the tree, and takes what is in there.
    source = folder / 'source'
    ignored = shutil.ignore_patterns('.*_cache', '.git', 'build', '*.egg-info', 'work_dirs', 'data')
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    # Without build isolation nothing is fetched: the test environment has setuptools.
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-q']
    subprocess.run([*command, '-w', folder, source], check=True)
    (path,) = folder.glob('*.whl')
    return path


def files_of_checkout(folder, suffixes):
    return {
        f'mmlayerwise/.mim/{path.relative_to(ROOT).as_posix()}'
        for path in (ROOT / folder).rglob('*')
        if path.suffix in suffixes
    }


def test_the_wheel_carries_every_config_tool_and_the_model_index(wheel):
    members = set(zipfile.ZipFile(wheel).namelist())
    assert 'mmlayerwise/.mim/model-index.yml' in members
    assert files_of_checkout('configs', {'.py', '.yml', '.md', '.tree'}) <= members
    assert files_of_checkout('tools', {'.py', '.sh'}) <= members


def test_the_wheel_carries_every_module_and_no_tests(wheel):
    members = set(zipfile.ZipFile(wheel).namelist())
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / 'mmlayerwise').rglob('*.py')}
    assert {m for m in modules if '/.mim/' not in m} <= members
    assert not [m for m in members if m.startswith(('tests/', 'configs/', 'tools/'))]


def test_the_wheel_carries_the_page_of_the_report(wheel):
    members = set(zipfile.ZipFile(wheel).namelist())
    folder = 'mmlayerwise/visualization/report'
    assert {f'{folder}/page.{suffix}' for suffix in ('html', 'css', 'js')} <= members


def test_a_config_inherits_from_the_installed_package(tmp_path):
    path = tmp_path / 'inherits.py'
    path.write_text("_base_ = 'mmlayerwise::_base_/default_runtime.py'\n")
    assert Config.fromfile(path).default_hooks.checkpoint.type == 'CheckpointHook'
