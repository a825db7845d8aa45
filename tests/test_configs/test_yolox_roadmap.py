"""The seven steps of YOLOX's road map (arXiv 2107.08430, table 2)."""

from itertools import pairwise

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

pytest.importorskip('mmdet')

from mmlayerwise.utils.meta_device import meta_device
from tests.test_tools.tools import ROOT

CONFIGS = ROOT / 'configs' / 'yolox'
# Config, parameters in millions and floating-point operations at 640 x 640 in 10^9, as printed.
STEPS = [
    ('yolov3-spp_d53_8xb8-300e_coco', '63.00', '157.3'),
    ('yolov3-spp-decoupled_d53_8xb8-300e_coco', '63.86', '186.0'),
    ('yolov3-spp-decoupled_d53_8xb8-mosaic-300e_coco', '63.86', '186.0'),
    ('yolox-center_d53_8xb8-300e_coco', '63.72', '185.3'),
    ('yolox-center3x3_d53_8xb8-300e_coco', '63.72', '185.3'),
    ('yolox_d53_8xb8-300e_coco', '63.72', '185.3'),
    ('yolox-nms-free_d53_8xb8-300e_coco', '67.27', '205.1'),
]


def count_operations(model):
    """Twice the multiply-adds at 640 x 640, counted as the paper's tool does.

    A convolution counts a multiply-add for each weight and output and an addition for each bias, a
    normalisation two for each value and the activation after it one.
    """
    counts = []

    def count(module, inputs, output):
        if isinstance(module, torch.nn.Conv2d):
            counts.append(output[0, 0].numel() * module.weight.numel())
            counts.append(output.numel() if module.bias is not None else 0)
        elif isinstance(module, torch.nn.BatchNorm2d):
            counts.append(3 * output.numel())

    for module in model.modules():
        module.register_forward_hook(count)
    model(torch.zeros(1, 3, 640, 640, device='meta'), None, mode='tensor')
    return 2 * sum(counts)


@pytest.mark.parametrize(('name', 'parameters', 'operations'), STEPS)
def test_size_and_cost_are_those_of_the_table(name, parameters, operations):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope('mmdet')
    with meta_device():
        model = MODELS.build(config.model).eval()
    model = model.to('meta')
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert f'{millions:.2f}' == parameters
    assert f'{count_operations(model) / 1e9:.1f}' == operations


def test_each_step_is_a_small_change_of_the_one_before():
    for (before, *_), (name, *_) in pairwise(STEPS):
        text = (CONFIGS / f'{name}.py').read_text()
        assert f"_base_ = './{before}.py'" in text


def test_strong_augmentation_begins_at_the_third_step():
    for number, (name, *_) in enumerate(STEPS):
        config = Config.fromfile(CONFIGS / f'{name}.py')
        dataset = config.train_dataloader.dataset
        hooks = [hook.type for hook in config.custom_hooks]
        assert (dataset.type == 'MultiImageMixDataset') == (number >= 2)
        assert ('YOLOXModeSwitchHook' in hooks) == (number >= 2)
        assert 'EMAHook' in hooks
