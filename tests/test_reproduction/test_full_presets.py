"""What a run of hours on a GPU would stumble over shows without training."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmlayerwise.engine.runner.layerwise_options import check_number_of_samples, first_layers
from mmlayerwise.forward import (
    LayerLearner,
    NearestTripletMiner,
    find_first_convolution,
    find_layers,
)
from mmlayerwise.models.losses import HingeTripletLoss
from mmlayerwise.registry import DATASETS
from mmlayerwise.reproduction.configs import build_config
from mmlayerwise.reproduction.methods import MOST_FORWARD_LAYERS
from mmlayerwise.reproduction.runs import runs_of
from mmlayerwise.reproduction.settings import preset_plan
from mmlayerwise.reproduction.tables import TABLES
from mmlayerwise.separation import ImageSamples
from mmlayerwise.utils.config_check import check_config
from mmlayerwise.utils.meta_device import meta_device
from tests.test_reproduction.test_configs import all_data  # noqa: F401

pytest.importorskip('mmdet')
pytestmark = pytest.mark.usefixtures('all_data')


def cells_of(table):
    plan = preset_plan(table, 'full').change({'device': 'cuda'}, num_seeds=1)
    return plan, runs_of(plan)


@pytest.mark.parametrize('table', TABLES)
def test_every_config_has_known_components_with_known_options(table):
    plan, runs = cells_of(table)
    assert len(runs) == len(plan.models) * len(plan.datasets) * len(plan.methods)
    for run in runs:
        cfg = build_config(run.model, run.dataset, run.method, run.seed, plan.settings)
        if run.dataset == plan.datasets[0] or run.model == plan.models[0]:
            check_config(cfg)  # data and network were put together from these
        assert cfg.train_dataloader.dataset.indices is None
        assert cfg.train_cfg.max_epochs == (15 if table == 'text' else 200)
        classes = DATASETS.get(cfg.train_dataloader.dataset.type).METAINFO['classes']
        hooks = [hook for hook in cfg.custom_hooks if hook.type == 'mmlayerwise.QLSInitHook']
        for options in (*hooks, cfg.train_cfg if 'num_samples' in cfg.train_cfg else None):
            if options:
                check_number_of_samples(options.num_samples, classes)


def on_meta(model, dataset, settings):
    cfg = build_config(model, dataset, 'backpropagation', 0, settings)
    with DefaultScope.overwrite_default_scope('mmlayerwise'), meta_device():
        network = MODELS.build(cfg.model)
    if cfg.model.backbone.type == 'VDCNN':
        inputs = torch.zeros(2, 1014, dtype=torch.long, device='meta')
    else:
        size = 224 if model == 'efficientnet_b0' else 32
        inputs = torch.zeros(2, 3, size, size, device='meta')
    return network, lambda: network(inputs, mode='tensor')


def networks_of(*tables):
    return sorted({model for table in tables for model in TABLES[table].models})


@pytest.mark.parametrize('model', networks_of('first-layer', 'text'))
def test_quasi_least_squares_find_the_first_convolution(model):
    plan = preset_plan('text' if model.startswith('vdcnn') else 'first-layer', 'full')
    network, forward = on_meta(model, plan.datasets[0], plan.settings)
    found = find_first_convolution(network, forward)
    assert found.module.in_channels == (16 if model.startswith('vdcnn') else 3)


LAYERS = {
    'vgg11': 8, 'vgg16': 13, 'resnet50': 17, 'inception_v3': 16, 'efficientnet_b0': 18,
    'vdcnn9': 9, 'vdcnn17': 17, 'vdcnn29': 29,
}  # fmt: skip


@pytest.mark.parametrize('model', networks_of('forward-layers', 'layer-wise', 'text'))
def test_layers_are_found_and_take_the_loss(model):
    tables = ('forward-layers', 'layer-wise', 'text')
    table = next(name for name in tables if model in TABLES[name].models)
    plan = preset_plan(table, 'full')
    network, forward = on_meta(model, plan.datasets[0], plan.settings)
    layers = find_layers(network, forward)
    in_backbone = [layer for layer in layers if layer.name.startswith('backbone')]
    assert len(in_backbone) == LAYERS[model]
    assert plan.settings.forward_loss == 'hinge'
    parts = ImageSamples(), NearestTripletMiner(), HingeTripletLoss(), forward
    for layer in layers:
        LayerLearner(network, layer, *parts)  # refuses a loss that would fall without end
    if table == 'forward-layers':
        assert len(first_layers(layers, MOST_FORWARD_LAYERS)) == MOST_FORWARD_LAYERS
