import pytest
import torch
import torch.nn.functional as F

from mmlayerwise.models.layers import BilinearConvTranspose2d


@pytest.mark.parametrize('learned', [False, True])
@pytest.mark.parametrize('stride', [2, 3, 8])
def test_interpolates_bilinearly(stride, learned):
    inputs = torch.randn(2, 3, 5, 4)
    outputs = BilinearConvTranspose2d(3, stride, learned)(inputs)
    offset = stride // 2
    height, width = 5 * stride, 4 * stride
    outputs = outputs[..., offset : offset + height, offset : offset + width]
    expected = F.interpolate(inputs, scale_factor=stride, mode='bilinear', align_corners=False)
    # Beside the margin, where nothing lies outside.
    inner = (..., slice(stride, -stride), slice(stride, -stride))
    torch.testing.assert_close(outputs[inner], expected[inner])


def test_learned_filters_join_all_channels():
    layer = BilinearConvTranspose2d(21, 2)
    assert layer.weight.shape == (21, 21, 4, 4)
    assert [p.requires_grad for p in layer.parameters()] == [True]


def test_fixed_filters_are_no_parameters_and_are_not_saved():
    layer = BilinearConvTranspose2d(21, 32, learned=False)
    assert layer.weight.shape == (21, 1, 64, 64)
    assert not list(layer.parameters())
    assert not layer.state_dict()


def test_filter_of_the_paper():
    quarter = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = BilinearConvTranspose2d(1, 2).weight[0, 0]
    torch.testing.assert_close(kernel, quarter[:, None] * quarter)
