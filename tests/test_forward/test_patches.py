import pytest
import torch
from torch import nn

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.patches import ConvolutionPatches
from tests.test_forward.reference import LAYERS, layer_and_samples


@pytest.mark.parametrize('name', LAYERS)
def test_features_are_those_of_the_layer(name):
    layer, samples, _ = layer_and_samples(name)
    patches = ConvolutionPatches(layer, samples)
    numbers = torch.tensor([5, 0, 17])
    filters = patches.filters_of(layer.weight, layer.bias)
    features = patches.features(filters, numbers)
    expected = layer(samples[numbers]).relu().flatten(2).transpose(0, 1)
    torch.testing.assert_close(features, expected)


def test_a_padding_that_was_changed_later_counts():
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    layer.padding = (2, 4)
    samples = torch.randn(4, 2, 6, 5, dtype=torch.float64)
    patches = ConvolutionPatches(layer, samples)
    numbers = torch.arange(4)
    features = patches.features(patches.filters_of(layer.weight, layer.bias), numbers)
    expected = layer(samples).relu()
    assert patches.grid == (8, 11)
    torch.testing.assert_close(features, expected.flatten(2).transpose(0, 1))


@pytest.mark.parametrize(('sides', 'grid'), [((6, 6), (3, 3)), ((7, 6), (4, 3)), ((5, 8), (3, 4))])
@pytest.mark.parametrize('kernel', [3, 5])
def test_a_padding_that_follows_the_size_counts(sides, grid, kernel):
    bricks = pytest.importorskip('mmcv.cnn.bricks')
    layer = bricks.Conv2dAdaptivePadding(2, 3, kernel, stride=2).double()
    samples = torch.randn(4, 2, *sides, dtype=torch.float64)
    patches = ConvolutionPatches(layer, samples)
    assert patches.grid == grid
    features = patches.features(patches.filters_of(layer.weight, layer.bias), torch.arange(4))
    expected = layer(samples).relu()
    torch.testing.assert_close(features, expected.flatten(2).transpose(0, 1))


class Shrinking(nn.Conv2d):
    """Gives a map of another size than a convolution does."""

    def forward(self, images):
        return super().forward(images)[..., 1:]


def test_a_convolution_of_its_own_kind_is_refused():
    with pytest.raises(ForwardLearningError, match='does not compute the plain convolution'):
        ConvolutionPatches(Shrinking(2, 3, 3), torch.randn(4, 2, 6, 6))


@pytest.mark.parametrize('name', LAYERS)
def test_written_filters_are_read_back(name):
    layer, samples, _ = layer_and_samples(name)
    patches = ConvolutionPatches(layer, samples)
    filters = torch.randn_like(patches.filters_of(layer.weight, layer.bias))
    patches.write(filters)
    torch.testing.assert_close(patches.filters_of(layer.weight, layer.bias), filters)


@pytest.mark.parametrize('name', ['plain', 'no bias', 'groups', 'text'])
def test_before_a_batch_normalisation_patches_are_centred(name):
    layer, samples, _ = layer_and_samples(name)
    patches = ConvolutionPatches(layer, samples, batch_norm=True)
    assert patches.dimension == patches.patch_size
    columns = patches.columns(torch.arange(len(samples)))
    torch.testing.assert_close(columns.mean(2), torch.zeros_like(columns[:, :, 0]))
    covariance = torch.stack([torch.cov(group, correction=0) for group in columns])
    torch.testing.assert_close(patches.covariance, covariance)
    filters = torch.randn(
        layer.groups, layer.out_channels // layer.groups, patches.patch_size, dtype=torch.float64
    )
    patches.write(filters)
    output = layer(samples).transpose(0, 1).flatten(1)
    if layer.bias is not None:
        torch.testing.assert_close(output.mean(1), torch.zeros_like(output[:, 0]))
    normal = (output - output.mean(1, keepdim=True)).view(layer.out_channels, len(samples), -1)
    features = patches.features(filters, torch.arange(len(samples)))
    torch.testing.assert_close(features, normal.relu())


def test_channels_are_standardised():
    layer, samples, _ = layer_and_samples('plain')
    patches = ConvolutionPatches(layer, samples)
    expected = samples.transpose(0, 1).flatten(1).std(1, correction=0).repeat_interleave(9)
    torch.testing.assert_close(patches.scale[0], expected)


def test_without_bias_and_normalisation_patches_keep_their_mean():
    layer, samples, _ = layer_and_samples('no bias')
    patches = ConvolutionPatches(layer, samples)
    assert not patches.shift.any()
    columns = patches.columns(torch.arange(len(samples)))
    torch.testing.assert_close(patches.covariance[0], torch.cov(columns[0], correction=0))


def test_a_large_output_is_looked_at_on_a_coarser_grid():
    layer = nn.Conv2d(3, 4, 3, padding=1)
    samples = torch.randn(5, 3, 20, 13)
    patches = ConvolutionPatches(layer, samples, max_positions=70)
    assert patches.grid == (10, 7)
    features = patches.features(patches.filters_of(layer.weight, layer.bias), torch.arange(5))
    expected = layer(samples)[:, :, ::2, ::2].relu().flatten(2).transpose(0, 1)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_chunks_bound_the_memory_and_cover_all_samples():
    layer, samples, _ = layer_and_samples('plain')
    patches = ConvolutionPatches(layer, samples)
    chunks = list(patches.chunks(10, limit=10 * patches.num_positions * 5))
    assert [len(chunk) for chunk in chunks] == [5, 5, 5, 5, 4]
    assert torch.cat(chunks).tolist() == list(range(24))


def test_a_constant_channel_among_others_is_no_obstacle():
    layer, samples, _ = layer_and_samples('plain')
    samples[:, 1] = 3.0
    patches = ConvolutionPatches(layer, samples)
    assert patches.scale.isfinite().all()
    assert (patches.scale > 0).all()


class StandardisedConv(nn.Conv2d):
    def forward(self, values):
        weight = self.weight / self.weight.norm()
        return nn.functional.conv2d(values, weight, self.bias)


@pytest.mark.parametrize(
    ('layer', 'samples', 'message'),
    [
        (nn.Linear(3, 4), torch.randn(4, 3), 'nn.Conv1d or nn.Conv2d, got Linear'),
        (nn.Conv2d(3, 4, 3), torch.randn(4, 1, 8, 8), r'3 channels, got \(4, 1, 8, 8\)'),
        (nn.Conv1d(3, 4, 3), torch.randn(4, 3, 8, 8), 'of 3 dimensions'),
        (nn.Conv2d(3, 4, 3), torch.full((4, 3, 8, 8), 2.0), 'samples are constant'),
        (nn.Conv2d(3, 4, 3), torch.full((4, 3, 8, 8), torch.nan), 'NaN or infinite'),
        (nn.Conv2d(3, 4, 3), torch.ones(4, 3, 8, 8, dtype=torch.uint8), 'torch.uint8'),
        (nn.Conv2d(3, 4, 9), torch.randn(4, 3, 8, 8), 'smaller than the kernel'),
        (StandardisedConv(3, 4, 3), torch.randn(4, 3, 8, 8), 'plain convolution'),
    ],
)
def test_bad_input_is_refused(layer, samples, message):
    with pytest.raises(ForwardLearningError, match=message):
        ConvolutionPatches(layer, samples)
