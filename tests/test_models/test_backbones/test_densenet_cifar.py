import pytest
import torch

from mmlayerwise.models.backbones import DenseNetCIFAR
from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_multiply_adds,
    count_parameters,
    linear_head,
)


@pytest.mark.parametrize(
    ('stem_channels', 'width', 'parameters'), [(16, 448, 1_019_722), (24, 456, 1_059_298)]
)
def test_parameters_for_ten_classes(stem_channels, width, parameters):
    config = {'type': 'DenseNetCIFAR', 'stem_channels': stem_channels}
    assert build_on_meta(config)[0].out_channels == width
    assert count_parameters(config, linear_head(width, 10)) == parameters


def test_multiply_adds():
    (backbone,) = build_on_meta({'type': 'DenseNetCIFAR'})
    total = 9 * 3 * 16 * 32**2
    channels = 16
    for block, size in enumerate((32, 16, 8)):
        # A transition convolves before it pools.
        total += channels**2 * (2 * size) ** 2 if block else 0
        total += sum(9 * (channels + 12 * layer) * 12 * size**2 for layer in range(12))
        channels += 144
    assert count_multiply_adds(backbone, torch.zeros(1, 3, 32, 32, device='meta')) == total


def test_stages_halve_the_resolution():
    (backbone,) = build_on_meta({'type': 'DenseNetCIFAR', 'out_indices': (0, 1, 2)})
    outputs = backbone(torch.zeros(1, 3, 32, 32, device='meta'))
    assert [(output.shape[1], output.shape[3]) for output in outputs] == [
        (160, 32), (304, 16), (448, 8),
    ]  # fmt: skip


def test_a_layer_keeps_what_came_before():
    backbone = DenseNetCIFAR(depth=7, growth_rate=4, out_indices=(0,)).eval()
    image = torch.randn(1, 3, 8, 8)
    (block,) = backbone(image)
    assert block.shape[1] == 16 + 4
    torch.testing.assert_close(block[:, :16], backbone.stem(image))


@pytest.mark.parametrize('depth', [4, 41])
def test_impossible_depths_are_explained(depth):
    with pytest.raises(UserError, match=rf'3 n \+ 4 with n >= 1, but is {depth}'):
        DenseNetCIFAR(depth=depth)
