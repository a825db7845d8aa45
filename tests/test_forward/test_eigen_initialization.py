import pytest
import torch
from torch import nn

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.eigen_initialization import EigenFilters, gauge
from mmlayerwise.forward.patches import ConvolutionPatches
from tests.test_forward.reference import layer_and_samples


def patches_for(num_filters, batch_norm=False, groups=1, bias=True):
    _, samples, _ = layer_and_samples('plain')
    layer = nn.Conv2d(3, num_filters, 3, padding=1, groups=groups, bias=bias).double()
    return ConvolutionPatches(layer, samples, batch_norm=batch_norm)


def test_filters_are_ranked_eigenvectors_each_followed_by_its_negative():
    patches = patches_for(10)
    filters = EigenFilters(patches).initial()[0]
    theta, bias = filters[:, :-1], filters[:, -1]
    torch.testing.assert_close(theta[1::2], -theta[::2])
    assert not bias.any()
    columns = patches.columns(torch.arange(24))[0, :-1]
    _, singular, right = torch.linalg.svd(columns.T, full_matrices=False)
    values = singular.square() / columns.shape[1]
    for vector, expected, value in zip(theta[::2], right, values, strict=False):
        assert (vector @ expected).abs().item() == pytest.approx(1)
        output = vector @ columns
        assert output.square().mean().item() == pytest.approx(value.item())


def test_the_layer_gets_minus_the_mean_patch_as_bias():
    patches = patches_for(4)
    filters = EigenFilters(patches).initial()
    patches.write(filters)
    outputs = patches.layer(patches.samples).transpose(0, 1).flatten(1)
    torch.testing.assert_close(outputs.mean(1), torch.zeros(4, dtype=torch.float64))


def test_without_negatives_the_filters_are_the_principal_components():
    theta = EigenFilters(patches_for(12), negatives=False).initial()[0, :, :-1]
    torch.testing.assert_close(theta @ theta.T, torch.eye(12, dtype=torch.float64))


def test_filters_beyond_twice_the_dimension_are_draws_with_the_patches_covariance():
    patches = patches_for(2 * 27 + 4000)
    extra = EigenFilters(patches).initial()[0, 54:, :-1]
    torch.testing.assert_close(extra.norm(dim=1), torch.ones(4000, dtype=torch.float64))
    torch.testing.assert_close(extra[1::2], -extra[::2])
    # A draw's direction favours the directions in which the patches vary.
    values, vectors = torch.linalg.eigh(patches.covariance[0])
    energy = (extra[::2] @ vectors).square().mean(0)
    correlation = torch.corrcoef(torch.stack([energy, values]))[0, 1]
    assert correlation > 0.95


def test_dependent_channels_lower_the_rank_and_no_filter_lies_outside_of_it():
    layer, samples, _ = layer_and_samples('plain')
    samples = samples[:, :1].repeat(1, 3, 1, 1)
    layer = nn.Conv2d(3, 30, 3, padding=1).double()
    patches = ConvolutionPatches(layer, samples)
    source = EigenFilters(patches)
    assert source.rank == [9]
    theta = source.initial()[0, :, :-1].unflatten(1, (3, 9))
    torch.testing.assert_close(theta[:, 0], theta[:, 1])
    torch.testing.assert_close(theta[:, 0], theta[:, 2])


def test_every_group_has_eigenvectors_of_its_own_channels():
    patches = patches_for(6, groups=3, bias=False)
    filters = EigenFilters(patches).initial()
    for group in range(3):
        _, vectors = torch.linalg.eigh(patches.covariance[group])
        assert (filters[group, 0] @ vectors[:, -1]).abs().item() == pytest.approx(1)


@pytest.mark.parametrize('batch_norm', [False, True])
def test_the_gauge_of_every_filter_is_one(batch_norm):
    patches = patches_for(70, batch_norm=batch_norm)
    filters = EigenFilters(patches).initial()
    torch.testing.assert_close(gauge(patches, filters), torch.ones(1, 70, dtype=torch.float64))
    columns = patches.columns(torch.arange(24))[0, : patches.patch_size]
    theta = filters[0, :, : patches.patch_size]
    sizes = (theta @ columns).std(1, correction=0) if batch_norm else theta.norm(dim=1)
    torch.testing.assert_close(sizes, torch.ones(70, dtype=torch.float64))


def test_the_seed_decides_the_draws():
    patches = patches_for(80)
    one, two, other = (EigenFilters(patches, seed=seed).initial() for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert torch.equal(one[:, :54], other[:, :54])
    assert not torch.equal(one[:, 54:], other[:, 54:])


def test_a_group_whose_channel_is_constant_is_refused():
    _, samples, _ = layer_and_samples('plain')
    samples[:, 2] = 1.0
    layer = nn.Conv2d(3, 6, 3, groups=3).double()
    with pytest.raises(ForwardLearningError, match='all equal'):
        EigenFilters(ConvolutionPatches(layer, samples))
