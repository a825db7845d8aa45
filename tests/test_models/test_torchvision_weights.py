"""Checkpoints with torchvision's names and shapes against every segmentor that starts from one."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

pytest.importorskip('mmseg')

from mmlayerwise.utils.meta_device import meta_device
from mmlayerwise.zoo import load_zoo
from tests.test_models.test_backbones.test_densenet import torchvision_shapes as densenet_shapes
from tests.test_models.test_backbones.test_segmentation_vgg import torchvision_shapes as vgg_shapes
from tests.zoo.configs import load_config

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(conv: str, norm: str, outputs: int, inputs: int, side: int) -> None:
        shapes[f'{conv}.weight'] = (outputs, inputs, side, side)
        for key in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{norm}.{key}'] = (outputs,)
        shapes[f'{norm}.num_batches_tracked'] = ()

    convolution('conv1', 'bn1', 64, 3, 7)
    channels, sides = 64, (3, 3) if depth == 18 else (1, 3, 1)
    for stage, count in enumerate(BLOCKS[depth]):
        inner = 64 * 2**stage
        outputs = inner if depth == 18 else 4 * inner
        for block in range(count):
            name, inputs = f'layer{stage + 1}.{block}', channels
            for number, side in enumerate(sides, start=1):
                width = outputs if number == len(sides) else inner
                convolution(f'{name}.conv{number}', f'{name}.bn{number}', width, inputs, side)
                inputs = width
            if block == 0 and channels != outputs:
                convolution(f'{name}.downsample.0', f'{name}.downsample.1', outputs, channels, 1)
            channels = outputs
    shapes.update({'fc.weight': (1000, channels), 'fc.bias': (1000,)})
    return shapes


def shapes_of(checkpoint: str) -> dict[str, tuple[int, ...]]:
    """From the name or address of a checkpoint to what is in it."""
    name = re.fullmatch(
        r'(?:torchvision://|https://download\.pytorch\.org/models/)(\w+).*', checkpoint
    )
    kind, depth, bn = re.fullmatch(r'([a-z]+)(\d+)(_bn)?', name[1]).groups()
    if kind == 'vgg':
        assert depth == '16'
        return vgg_shapes(with_bn=bn is not None)
    return {'resnet': resnet_shapes, 'densenet': densenet_shapes}[kind](int(depth))


@pytest.mark.parametrize(
    ('depth', 'parameters'),
    # torchvision's documentation.
    [(18, 11_689_512), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_shapes_of_resnets_are_torchvisions(depth, parameters):
    shapes = resnet_shapes(depth)
    count = sum(
        torch.Size(shape).numel() for key, shape in shapes.items()
        if 'running' not in key and 'tracked' not in key
    )  # fmt: skip
    assert count == parameters


def pretrained_parts(node: Any) -> Iterator[dict]:
    """Configs of all parts that start from a checkpoint of torchvision."""
    if isinstance(node, dict):
        init = node.get('init_cfg')
        if isinstance(init, dict) and 'torch' in init.get('checkpoint', ''):
            yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from pretrained_parts(child)


def test_every_pretrained_part_finds_all_its_weights():
    """Parts of our own segmentors; a checkpoint may hold more, such as its classifier."""
    models = [m for system in load_zoo() if system.task == 'sem' for m in system.models]
    seen = set()
    for model in models:
        if '::' in str(model.config):
            continue
        config = load_config(model)
        for part in pretrained_parts(config.model):
            if str(part) in seen:
                continue
            seen.add(str(part))
            with meta_device(), DefaultScope.overwrite_default_scope(config.default_scope):
                module = MODELS.build({**part, 'init_cfg': None})
            shapes = shapes_of(part.init_cfg.checkpoint)
            weights = {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}
            missing = module.load_state_dict(weights, strict=False).missing_keys
            # VGG normalises no fully connected layer; old checkpoints count no batches.
            left = [k for k in missing if not re.search(r'^fc[67]\.bn\.|batches_tracked$', k)]
            assert not left, f'{model.name}: {left}'
    assert len(seen) >= 5


def test_torchvision_address_loads_without_torchvision(monkeypatch):
    from mmengine.runner import checkpoint

    generator = torch.Generator().manual_seed(0)
    weights = {
        key: torch.rand(shape, generator=generator) for key, shape in resnet_shapes(18).items()
    }
    seen = []

    def download(address: str, **_: Any) -> dict:
        seen.append(address)
        return weights

    monkeypatch.setattr(checkpoint, 'load_from_http', download)
    init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = MODELS.build(dict(type='ResNet', depth=18, init_cfg=init_cfg))
    backbone.init_weights()
    assert seen == ['https://download.pytorch.org/models/resnet18-f37072fd.pth']
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, weights[key].to(value.dtype)), key
