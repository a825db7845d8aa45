import pytest
import torch
from torch import nn

from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_parameters,
    linear_head,
    synthetic_checkpoint,
)

pytest.importorskip('mmdet')
from mmlayerwise.models.backbones import ResNetCIFAR


def test_parameters():
    assert count_parameters({'type': 'ResNetCIFAR', 'depth': 50}) == 23_500_352
    imagenet = {'type': 'mmdet.ResNet', 'depth': 50}
    assert count_parameters(imagenet) == 23_508_032
    assert count_parameters(imagenet, linear_head(2048)) == 25_557_032


def test_stages():
    config = {'type': 'ResNetCIFAR', 'depth': 50, 'out_indices': (0, 1, 2, 3)}
    (backbone,) = build_on_meta(config)
    outputs = backbone(torch.zeros(1, 3, 32, 32, device='meta'))
    assert [(output.shape[1], output.shape[3]) for output in outputs] == [
        (256, 32), (512, 16), (1024, 8), (2048, 4),
    ]  # fmt: skip


def test_batch_normalisation_is_trained():
    backbone = ResNetCIFAR(18)
    backbone.train()
    assert all(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))


def test_loads_the_stages_of_torchvision_checkpoints(tmp_path):
    shapes = {'fc.weight': (1000, 512)}
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f'layer{stage}.{block}'
            convolutions = {'conv1': (channels, 3), 'conv2': (width, 3)}
            if channels != width:
                convolutions['downsample.0'] = (channels, 1)
            for convolution, (before, kernel) in convolutions.items():
                norm = {'conv1': 'bn1', 'conv2': 'bn2'}.get(convolution, 'downsample.1')
                shapes[f'{name}.{convolution}.weight'] = (width, before, kernel, kernel)
                for key in ('weight', 'bias', 'running_mean', 'running_var'):
                    shapes[f'{name}.{norm}.{key}'] = (width,)
            channels = width
    checkpoint = synthetic_checkpoint(shapes)
    torch.save(checkpoint, tmp_path / 'resnet18.pth')
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'resnet18.pth')}
    backbone = ResNetCIFAR(18, init_cfg=init_cfg)
    backbone.init_weights()
    state = backbone.state_dict()
    wanted = {
        key for key in state if key.startswith('layer') and not key.endswith('batches_tracked')
    }
    assert wanted == checkpoint.keys() - {'fc.weight'}
    assert all(torch.equal(state[key], checkpoint[key]) for key in wanted)
