from types import SimpleNamespace

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.model import MMSeparateDistributedDataParallel
from torch import nn
from torch.utils.data import DataLoader

from mmlayerwise.engine.runner.layerwise_options import (
    check_number_of_samples,
    check_options,
    check_runner,
    first_layers,
    with_adam,
)
from mmlayerwise.forward import ForwardLearningError

ADAM = dict(type='Adam', lr=1e-3)


def test_the_wrapper_of_the_config_keeps_all_but_what_belongs_to_its_optimizer():
    given = dict(
        type='AmpOptimWrapper',
        loss_scale='dynamic',
        accumulative_counts=4,
        clip_grad=dict(max_norm=1),
        optimizer=dict(type='SGD', lr=0.1),
        paramwise_cfg=dict(norm_decay_mult=0),
        constructor='LayerDecay',
    )
    assert with_adam(given) == dict(
        type='AmpOptimWrapper',
        loss_scale='dynamic',
        accumulative_counts=4,
        clip_grad=dict(max_norm=1),
        optimizer=ADAM,
    )
    assert given['optimizer']['type'] == 'SGD'


@pytest.mark.parametrize('given', [None, object(), dict(constructor='Many', generator=dict())])
def test_without_a_single_optimizer_in_the_config_the_wrapper_is_the_plain_one(given):
    assert with_adam(given) == dict(type='OptimWrapper', optimizer=ADAM)


def test_the_first_layers_are_taken_or_the_lack_is_told():
    layers = [SimpleNamespace(name=name) for name in 'abc']
    assert first_layers(layers, 'all') == layers
    assert first_layers(layers, 2) == layers[:2]
    with pytest.raises(ForwardLearningError, match=r'has 3 layers (?s:.*)1. a\n  2. b\n  3. c'):
        first_layers(layers, 4)


@pytest.mark.parametrize('number', [True, 1.5, 'most', -2, None])
def test_a_number_of_layers_is_a_whole_number_or_all(number):
    with pytest.raises(ForwardLearningError, match="from 0 or 'all', got"):
        check_options(number, 1, 'joint', 100)


def test_few_samples_for_many_classes_are_refused():
    check_number_of_samples(6, 'abc')
    check_number_of_samples(4, None)
    with pytest.raises(ForwardLearningError, match='num_samples=5 are too few for 3 classes'):
        check_number_of_samples(5, 'abc')


def test_wrappers_that_keep_parameters_in_pieces_and_endless_samplers_are_refused():
    data = list(range(8))
    plain = SimpleNamespace(model=nn.Identity())
    check_runner(plain, DataLoader(data, sampler=DefaultSampler(data, seed=0)))
    with pytest.raises(ForwardLearningError, match='InfiniteSampler never ends'):
        check_runner(plain, DataLoader(data, sampler=InfiniteSampler(data, seed=0)))
    pieces = object.__new__(MMSeparateDistributedDataParallel)
    nn.Module.__init__(pieces)
    loader = DataLoader(data, sampler=DefaultSampler(data, seed=0))
    with pytest.raises(ForwardLearningError, match='not with MMSeparateDistributedData'):
        check_runner(SimpleNamespace(model=pieces), loader)
