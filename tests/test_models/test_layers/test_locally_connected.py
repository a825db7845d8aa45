import pytest
import torch
import torch.nn.functional as F

from mmlayerwise.models.layers import LocallyConnected2d


def test_every_place_has_its_own_kernel():
    torch.manual_seed(0)
    layer = LocallyConnected2d(2, 3, (3, 4)).double()
    layer.bias.data.normal_()
    inputs = torch.randn(2, 2, 3, 4, dtype=torch.double)
    outputs = layer(inputs)
    assert outputs.shape == (2, 3, 3, 4)
    padded = F.pad(inputs, [1, 1, 1, 1])
    for row in range(3):
        for column in range(4):
            # Kernels are stored by place, output channel, input channel, row and column.
            kernels = layer.weight[row * 4 + column].reshape(3, 2, 3, 3)
            for channel in range(3):
                patch = padded[:, :, row : row + 3, column : column + 3]
                expected = (patch * kernels[channel]).sum((1, 2, 3))
                expected = expected + layer.bias[channel, row, column]
                torch.testing.assert_close(outputs[:, channel, row, column], expected)


def test_equal_kernels_are_a_convolution():
    conv = torch.nn.Conv2d(2, 3, 3, padding=1)
    layer = LocallyConnected2d(2, 3, (4, 4))
    layer.weight.data.copy_(conv.weight.data.flatten(1).expand_as(layer.weight))
    layer.bias.data.copy_(conv.bias.data[:, None, None].expand_as(layer.bias))
    inputs = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(layer(inputs), conv(inputs))


def test_other_size_is_refused():
    with pytest.raises(ValueError, match=r'weights for maps of \(4, 4\), but the map is \(4, 5\)'):
        LocallyConnected2d(2, 3, (4, 4))(torch.zeros(1, 2, 4, 5))
