import pytest
import torch

from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_multiply_adds,
    count_parameters,
    linear_head,
)


def test_parameters():
    backbone, head = {'type': 'InceptionV3'}, linear_head(2048)
    auxiliary = {'type': 'InceptionV3AuxiliaryHead', 'num_classes': 1000}
    assert count_parameters(backbone, head) == 23_834_568
    assert count_parameters(backbone, head, auxiliary) == 27_161_264


def test_multiply_adds_are_those_of_the_released_network():
    (backbone,) = build_on_meta({'type': 'InceptionV3'})
    total = count_multiply_adds(backbone, torch.zeros(1, 3, 299, 299, device='meta'))
    # torchvision's table of models lists 5.71 G for the same network.
    assert total == pytest.approx(5.71e9, rel=0.005)


@pytest.mark.parametrize(
    ('stem', 'size', 'expected'),
    [
        ('imagenet', 299, [(192, 35), (288, 35), (768, 17), (2048, 8)]),
        ('cifar', 32, [(192, 32), (288, 32), (768, 15), (2048, 7)]),
    ],
)
def test_stages(stem, size, expected):
    config = {'type': 'InceptionV3', 'stem': stem, 'out_indices': range(4)}
    (backbone,) = build_on_meta(config)
    outputs = backbone(torch.zeros(1, 3, size, size, device='meta'))
    assert [(output.shape[1], output.shape[3]) for output in outputs] == expected


def test_both_stems_have_the_same_weights():
    plain, cifar = build_on_meta({'type': 'InceptionV3'}, {'type': 'InceptionV3', 'stem': 'cifar'})

    def shapes(module):
        return [tuple(p.shape) for p in module.parameters()]

    assert shapes(plain) == shapes(cifar)


def test_a_factor_scales_every_branch():
    config = {'type': 'InceptionV3', 'stem': 'cifar', 'out_indices': range(4)}
    whole, narrow = build_on_meta(config, {**config, 'widen_factor': 0.25})
    outputs = narrow(torch.zeros(1, 3, 32, 32, device='meta'))
    shapes = [(one.shape[1], one.shape[3]) for one in outputs]
    assert shapes == [(48, 32), (72, 32), (192, 15), (512, 7)]
    pairs = list(zip(whole.parameters(), narrow.parameters(), strict=True))
    first, second = pairs[0]
    assert (tuple(first.shape), tuple(second.shape)) == ((32, 3, 3, 3), (8, 3, 3, 3))
    for first, second in pairs[1:]:
        assert first.shape[0] == 4 * second.shape[0]
        assert first.shape[2:] == second.shape[2:]
    assert {m.eps for m in narrow.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize('factor', [0.3, 1 / 32, 0, -1])
def test_a_factor_that_breaks_channels_is_refused(factor):
    with pytest.raises(UserError, match=f'must be a multiple of 1/16, but is {factor}'):
        build_on_meta({'type': 'InceptionV3', 'widen_factor': factor})
