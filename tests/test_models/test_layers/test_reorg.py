import pytest
import torch

from mmlayerwise.models.layers import Reorg


def darknet_reorg(values, channels, height, width, stride):
    """Darknet's reorg of one image in plain index arithmetic on flat memory."""
    output = [0.0] * len(values)
    narrow = channels // stride**2
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                offset, source_channel = divmod(channel, narrow)
                source_row = row * stride + offset // stride
                source_column = column * stride + offset % stride
                source = (
                    source_channel * height * stride + source_row
                ) * width * stride + source_column
                output[(channel * height + row) * width + column] = values[source]
    return output


@pytest.mark.parametrize(('channels', 'height', 'width', 'stride'), [(8, 4, 6, 2), (9, 3, 6, 3)])
def test_order_is_darknets(channels, height, width, stride):
    inputs = torch.arange(2.0 * channels * height * width).reshape(2, channels, height, width)
    outputs = Reorg(stride)(inputs)
    assert outputs.shape == (2, channels * stride**2, height // stride, width // stride)
    for image, output in zip(inputs, outputs, strict=True):
        expected = darknet_reorg(image.flatten().tolist(), channels, height, width, stride)
        assert output.flatten().tolist() == expected


def test_differs_from_a_permutation_of_channels():
    inputs = torch.arange(64.0).reshape(1, 4, 4, 4)
    places = Reorg(2)(inputs)[0].flatten(1).sort(0)[0]
    unshuffled = torch.nn.PixelUnshuffle(2)(inputs)[0].flatten(1).sort(0)[0]
    assert not torch.equal(places, unshuffled)


@pytest.mark.parametrize('shape', [(1, 6, 4, 4), (1, 4, 5, 4), (1, 4, 4, 3)])
def test_shape_that_does_not_divide_is_refused(shape):
    with pytest.raises(ValueError, match='reorg with stride 2 needs channels divisible by 4'):
        Reorg(2)(torch.zeros(shape))
