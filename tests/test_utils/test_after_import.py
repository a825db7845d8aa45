import importlib
import sys

import pytest

from mmlayerwise.utils.after_import import after_import


@pytest.fixture
def module_name(tmp_path, monkeypatch):
    """A module on the path that has not been imported."""
    (tmp_path / 'some_new_module.py').write_text('number = 1')
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield 'some_new_module'
    sys.modules.pop('some_new_module', None)
    sys.meta_path[:] = finders


def test_acts_when_the_module_is_imported(module_name):
    seen = []
    after_import(module_name, lambda module: seen.append(module.number))
    assert module_name not in sys.modules
    assert seen == []
    importlib.import_module(module_name)
    assert seen == [1]


def test_acts_at_once_on_an_imported_module(module_name):
    module = importlib.import_module(module_name)
    seen = []
    after_import(module_name, seen.append)
    assert seen == [module]


def test_several_actions_on_one_module(module_name):
    seen = []
    after_import(module_name, lambda module: seen.append('first'))
    after_import(module_name, lambda module: seen.append('second'))
    importlib.import_module(module_name)
    assert sorted(seen) == ['first', 'second']


def test_leaves_no_finder_behind(module_name):
    finders = list(sys.meta_path)
    after_import(module_name, lambda module: None)
    importlib.import_module(module_name)
    assert sys.meta_path == finders


def test_module_that_does_not_exist_still_fails():
    after_import('no_such_module_at_all', lambda module: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('no_such_module_at_all')
