import pytest
import torch

from mmlayerwise.compression import CompressionError
from mmlayerwise.compression.channel_groups import ChannelGroup
from mmlayerwise.compression.criteria import importance, least_important_first
from mmlayerwise.compression.reading import LayerSamples
from tests.test_compression.networks import CodedNet, coded_images


def test_equal_channels_go_from_the_last():
    assert least_important_first(torch.tensor([0.5, 0.1, 0.5, 0.1])) == [3, 1, 2, 0]


def test_index_of_single_maps_tells_signal_from_noise():
    images, labels = coded_images()
    samples = LayerSamples(images.flatten(2), labels, torch.arange(len(labels)), None)
    found = importance('si', CodedNet(), ChannelGroup('first.0', 2), samples)
    assert found[0] == 1
    assert found[1] < 0.6


def test_magnitude_sums_the_filters_of_all_members():
    model = CodedNet()
    group = ChannelGroup('second.0', 8, ['second.0', 'third.0'])
    found = importance('magnitude', model, group)
    weights = [model.second[0].weight, model.third[0].weight]
    expected = sum(weight.detach().double().abs().sum((1, 2, 3)) for weight in weights)
    torch.testing.assert_close(found, expected)


def test_magnitude_of_a_transposed_convolution_is_of_its_outputs():
    model = torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 2, 2))
    found = importance('magnitude', model, ChannelGroup('0', 2, ['0']))
    expected = model[0].weight.detach().double().abs().sum((0, 2, 3))
    torch.testing.assert_close(found, expected)


def test_random_depends_on_seed_and_layer():
    model = CodedNet()
    group, other = ChannelGroup('first.0', 8), ChannelGroup('second.0', 8)
    first = importance('random', model, group, seed=1)
    assert torch.equal(first, importance('random', model, group, seed=1))
    assert not torch.equal(first, importance('random', model, group, seed=2))
    assert not torch.equal(first, importance('random', model, other, seed=1))


def test_unknown_criterion_lists_the_known():
    with pytest.raises(CompressionError, match='si, magnitude, random'):
        importance('taylor', CodedNet(), ChannelGroup('first.0', 8))
