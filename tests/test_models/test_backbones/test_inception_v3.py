import pytest
import torch

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
