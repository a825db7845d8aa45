import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from mmlayerwise.plugins import BUILT_INS, HookSpecifications, Plugins, PluginWarning, hookimpl
from mmlayerwise.separation import nearest_neighbors
from mmlayerwise.utils.errors import UserError

EXAMPLE = Path(__file__).with_name('plugin_example')
TOY_CONFIG = Path(__file__).parent / 'test_tools' / 'toy_config.py'
ROOT = Path(__file__).parents[1]


def plugin(**hooks):
    """Return an object whose attributes are hook implementations."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


@pytest.fixture
def entry(monkeypatch):
    """Make the entry point of a plugin, as an installed package would have it."""

    def make(name, content):
        module = ModuleType(f'plugin_of_{name}')
        module.plugin = content
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return EntryPoint(name, f'{module.__name__}:plugin', 'mmlayerwise')

    return make


def test_the_built_in_parts_are_plugins_themselves():
    plugins = Plugins(BUILT_INS)
    assert plugins.names == list(BUILT_INS)
    assert plugins.broken == {}


def test_what_plugins_give_is_found_by_name(entry):
    first = entry('first', plugin(neighbor_backends=lambda: {'a': min}))
    second = entry('second', plugin(neighbor_backends=lambda: {'b': max}, samplers=lambda: {}))
    plugins = Plugins(entries=[first, second])
    assert plugins.names == ['first', 'second']
    assert plugins.provided('neighbor_backends') == {'a': min, 'b': max}
    assert plugins.look_up('neighbor_backends', 'b') is max


def test_an_unknown_name_lists_those_there_are(entry):
    plugins = Plugins(
        entries=[entry('one', plugin(samplers=lambda: {'pixels': min, 'boxes': max}))]
    )
    with pytest.raises(
        UserError, match="'boxs' is not among the samplers; there are: boxes, pixels"
    ):
        plugins.look_up('samplers', 'boxs')


def test_two_plugins_with_one_name_are_both_named(entry):
    entries = [entry(name, plugin(samplers=lambda: {'points': min})) for name in ('one', 'two')]
    with pytest.raises(UserError, match=r"plugins '(one|two)' and '(one|two)' both give 'points'"):
        Plugins(entries=entries).provided('samplers')


def test_the_plugin_that_knows_the_network_answers(entry):
    def order(model):
        return ['b', 'a'] if isinstance(model, torch.nn.ReLU) else None

    entries = [
        entry('silent', plugin(layer_order=lambda model: None)),
        entry('relu', plugin(layer_order=order)),
    ]
    plugins = Plugins(entries=entries)
    assert plugins.ask('layer_order', model=torch.nn.ReLU()) == ['b', 'a']
    assert plugins.ask('layer_order', model=torch.nn.Tanh()) is None


def test_a_hook_takes_only_the_arguments_it_names(entry):
    answer = entry('cut', plugin(truncate_backbone=lambda layer: f'up to {layer}'))
    plugins = Plugins(entries=[answer])
    assert plugins.ask('truncate_backbone', backbone=None, layer='stem') == 'up to stem'


def fail():
    raise OSError('no licence')


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (plugin(neighbor_backend=lambda: {}), 'neighbor_backend'),  # no such hook
        (plugin(samplers=lambda model: {}), 'model'),  # no such argument
    ],
)
def test_a_plugin_that_misses_the_specification_is_left_out(entry, content, reason):
    good = entry('good', plugin(samplers=lambda: {'points': min}))
    with pytest.warns(PluginWarning, match="plugin 'bad' .* is left out"):
        plugins = Plugins(entries=[entry('bad', content), good])
    assert plugins.names == ['good']
    assert reason in plugins.broken['bad']
    assert plugins.provided('samplers') == {'points': min}


def test_a_plugin_that_does_not_import_is_left_out_and_named_in_later_errors():
    missing = EntryPoint('absent', 'no_such_module_anywhere', 'mmlayerwise')
    with pytest.warns(PluginWarning, match="plugin 'absent'"):
        plugins = Plugins(entries=[missing])
    with pytest.raises(UserError, match=r"plugin 'absent' was left out: ModuleNotFoundError"):
        plugins.look_up('samplers', 'points')


def test_a_plugin_that_fails_when_called_is_left_out(entry):
    good = plugin(samplers=lambda: {'points': min})
    plugins = Plugins(entries=[entry('bad', plugin(samplers=fail)), entry('good', good)])
    with pytest.warns(PluginWarning, match='OSError: no licence'):
        assert plugins.provided('samplers') == {'points': min}
    assert plugins.names == ['good']


def test_a_hook_wrapper_is_refused(entry):
    @hookimpl(wrapper=True)
    def samplers():
        return (yield)

    plugins = Plugins(entries=[entry('wrapper', SimpleNamespace(samplers=samplers))])
    with pytest.warns(PluginWarning, match='hook wrapper'):
        assert plugins.provided('samplers') == {}


def test_a_disabled_plugin_is_not_even_imported():
    missing = EntryPoint('absent', 'no_such_module_anywhere', 'mmlayerwise')
    plugins = Plugins(entries=[missing], disabled=['absent'])
    assert plugins.names == []
    assert plugins.broken == {}


def test_an_unknown_neighbor_backend_is_named():
    points = torch.randn(4, 2)
    with pytest.raises(UserError, match=r"'fais' is not among the neighbor_backends; .*exact"):
        nearest_neighbors(points, backend='fais')


def test_every_hook_is_documented():
    hooks = [value for name, value in vars(HookSpecifications).items() if name[0] != '_']
    assert len(hooks) == 8
    assert all(hook.__doc__ for hook in hooks)


@pytest.fixture(scope='module')
def installed_example(tmp_path_factory):
    """A folder into which pip has installed the example plugin."""
    source = tmp_path_factory.mktemp('source') / 'plugin_example'
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    command += ['--no-build-isolation', '--disable-pip-version-check', '--target', target, source]
    subprocess.run(command, check=True, capture_output=True)
    return target


def run_with(path, *command):
    """Run Python with further folders on its path; return what it printed."""
    variables = {**os.environ, 'PYTHONPATH': f'{path}{os.pathsep}{ROOT}', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=variables, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_plugin_gives_a_neighbor_backend(installed_example):
    script = """
import torch
from mmlayerwise.plugins import installed_plugins
from mmlayerwise.separation import measure, nearest_neighbors

assert 'example' in installed_plugins().names
points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
for options in ({}, {'groups': torch.arange(40) // 8}, {'queries': points[:5] + 0.1}):
    ours = nearest_neighbors(points, 4, **options)
    theirs = nearest_neighbors(points, 4, backend='brute_force', **options)
    assert torch.equal(ours.indices, theirs.indices)
    torch.testing.assert_close(ours.distances, theirs.distances)
labels = torch.arange(40) % 3
ours, theirs = (measure(points, labels, backend=name) for name in ('exact', 'brute_force'))
assert ours.index == theirs.index > 0
print('equal')
"""
    assert run_with(installed_example, '-c', script).strip() == 'equal'


def test_a_config_names_a_component_of_an_installed_plugin(installed_example, tmp_path):
    config = tmp_path / 'limited.py'
    config.write_text(
        f"_base_ = '{TOY_CONFIG}'\n"
        "custom_hooks = [dict(type='mmlayerwise.TimeLimitHook', minutes=0)]\n"
        'train_cfg = dict(max_epochs=5)\n'
    )
    run_with(installed_example, ROOT / 'tools' / 'train.py', config, '--work-dir', tmp_path)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'The time limit of 0 minutes is reached' in log
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert not (tmp_path / 'epoch_2.pth').exists()
