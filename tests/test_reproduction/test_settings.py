import pytest

from mmlayerwise.reproduction.settings import PRESETS, Plan, Settings, preset_plan
from mmlayerwise.reproduction.tables import TABLES
from mmlayerwise.utils.errors import UserError


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('table', TABLES)
def test_every_table_has_every_preset_with_backpropagation_and_several_seeds(table, preset):
    plan = preset_plan(table, preset)
    assert plan.num_seeds >= (3 if preset == 'reduced' and table in ('layer-wise', 'text') else 5)
    assert 'backpropagation' in plan.methods
    assert len(plan.methods) > 1


def test_the_reduced_layer_wise_table_has_all_networks_of_the_lectures():
    assert preset_plan('layer-wise', 'reduced').models == TABLES['layer-wise'].models


def test_the_control_is_in_the_first_layers_presets():
    for preset in PRESETS:
        assert 'eigenvectors' in preset_plan('first-layer', preset).methods


def test_only_what_is_given_changes():
    plan = preset_plan('first-layer', 'reduced')
    changed = plan.change(
        {'epochs': 3, 'subset': None, 'linear_head': False}, models=('alexnet',), num_seeds=None
    )
    assert changed.settings.epochs == 3
    assert changed.settings.subset == plan.settings.subset
    assert changed.settings.linear_head is False
    assert changed.models == ('alexnet',)
    assert (changed.num_seeds, changed.methods) == (plan.num_seeds, plan.methods)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UserError, match="no preset 'tiny'; there are: reduced, full"):
        preset_plan('first-layer', 'tiny')
    plan = preset_plan('first-layer', 'reduced')
    with pytest.raises(UserError, match="first-layer has no model 'vgg11'; there are: alexnet, "):
        plan.change({}, models=('vgg11',))
    with pytest.raises(UserError, match="no method 'forward_3'"):
        plan.change({}, methods=('forward_3',))


@pytest.mark.parametrize('name', ['subset', 'epochs', 'width', 'learning_rate', 'val_interval'])
def test_numbers_that_are_not_positive_are_refused(name):
    with pytest.raises(UserError, match=f'{name} must be positive, but is 0'):
        Settings(**{name: 0})


def test_unknown_devices_and_no_seeds_are_refused():
    with pytest.raises(UserError, match="device must be one of cpu, cuda, not 'tpu'"):
        Settings(device='tpu')
    with pytest.raises(UserError, match="forward_loss must be one of hinge, soft, raw, not 'l2'"):
        Settings(forward_loss='l2')
    with pytest.raises(UserError, match='seeds must be at least 1, but is 0'):
        Plan('text', ('vdcnn9',), ('ag_news',), ('backpropagation',), 0, Settings())
