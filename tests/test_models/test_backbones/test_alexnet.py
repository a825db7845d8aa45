import pytest
import torch

from mmlayerwise.models.backbones import AlexNet
from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_parameters,
    stacked_head,
    synthetic_checkpoint,
)


def test_parameters_with_the_papers_fully_connected_layers():
    assert count_parameters({'type': 'AlexNet'}, stacked_head(9216, 4096, 4096)) == 61_100_840


@pytest.mark.parametrize(
    ('stem', 'size', 'expected'),
    [
        ('imagenet', 224, [(64, 27), (192, 13), (256, 6)]),
        ('cifar', 32, [(64, 15), (192, 7), (256, 3)]),
    ],
)
def test_stages(stem, size, expected):
    (backbone,) = build_on_meta({'type': 'AlexNet', 'stem': stem, 'out_indices': (0, 1, 2)})
    outputs = backbone(torch.zeros(1, 3, size, size, device='meta'))
    assert [(output.shape[1], output.shape[3]) for output in outputs] == expected


def test_loads_torchvision_checkpoints(tmp_path):
    kernels = {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    }
    shapes = {}
    for index, (after, before, kernel) in kernels.items():
        shapes[f'features.{index}.weight'] = (after, before, kernel, kernel)
        shapes[f'features.{index}.bias'] = (after,)
    checkpoint = synthetic_checkpoint(shapes)
    torch.save(checkpoint, tmp_path / 'alexnet.pth')
    backbone = AlexNet(init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'alexnet.pth')})
    backbone.init_weights()
    state = backbone.state_dict()
    assert state.keys() == checkpoint.keys()
    assert all(torch.equal(state[key], checkpoint[key]) for key in state)


def test_unknown_stem_lists_the_known_ones():
    with pytest.raises(UserError, match="'imagenet', 'cifar', but is 'mnist'"):
        AlexNet(stem='mnist')


def test_a_factor_scales_the_channels():
    (backbone,) = build_on_meta({'type': 'AlexNet', 'stem': 'cifar', 'widen_factor': 0.25})
    (features,) = backbone(torch.zeros(2, 3, 32, 32, device='meta'))
    assert features.shape == (2, 64, 3, 3)
    assert backbone.features[0].weight.shape == (16, 3, 5, 5)
