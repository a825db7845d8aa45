import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.forward import normal_matrices as module
from mmlayerwise.forward.normal_matrices import normal_matrices
from mmlayerwise.forward.patches import ConvolutionPatches
from mmlayerwise.forward.triplets import Triplets
from tests.test_forward.reference import LAYERS, layer_and_samples, triplet_loss


def random_triplets(labels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.arange(len(labels))
    friends, enemies = [], []
    for i, label in enumerate(labels):
        own = numbers[(labels == label) & (numbers != i)]
        others = numbers[labels != label]
        friends.append(own[torch.randint(len(own), (), generator=generator)])
        enemies.append(others[torch.randint(len(others), (), generator=generator)])
    return Triplets(torch.stack(friends), torch.stack(enemies), 0.0)


@pytest.mark.parametrize('name', LAYERS)
def test_loss_and_gradient_are_those_of_autograd_through_the_layer(name):
    layer, samples, labels = layer_and_samples(name)
    patches = ConvolutionPatches(layer, samples)
    triplets = random_triplets(labels)
    filters = patches.filters_of(layer.weight, layer.bias)
    matrices = normal_matrices(patches, filters, triplets)

    loss = triplet_loss(layer(samples).relu(), triplets.friends, triplets.enemies)
    assert matrices.loss(filters) == pytest.approx(loss.item(), rel=1e-9)
    loss.backward()
    difference = matrices.friends - matrices.enemies
    gradient = 2 * torch.einsum('gfde,gfe->gfd', difference, filters)
    # The chain rule: a conditioned filter is theta * scale, its bias b + theta . shift.
    expected = layer.weight.grad.reshape(layer.groups, -1, patches.patch_size)
    found = gradient[..., : patches.patch_size] * patches.scale[:, None]
    if layer.bias is not None:
        torch.testing.assert_close(gradient[..., -1].flatten(), layer.bias.grad)
        found = found + patches.shift[:, None] * gradient[..., -1:]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('name', ['plain', 'groups', 'text'])
def test_matrices_are_sums_of_outer_products_of_masked_differences(name):
    layer, samples, labels = layer_and_samples(name, num_samples=10)
    patches = ConvolutionPatches(layer, samples)
    triplets = random_triplets(labels, seed=1)
    filters = patches.filters_of(layer.weight, layer.bias)
    matrices = normal_matrices(patches, filters, triplets)
    columns = patches.columns(torch.arange(10)).unflatten(2, (10, -1))
    for group in range(layer.groups):
        for j, w in enumerate(filters[group]):
            for found, role in (
                (matrices.friends, triplets.friends),
                (matrices.enemies, triplets.enemies),
            ):
                masked = columns[group] * (torch.einsum('d,dns->ns', w, columns[group]) > 0)
                u = (masked - masked[:, role]).flatten(1)
                torch.testing.assert_close(found[group, j], u @ u.T)


def test_the_loss_is_quadratic_in_the_filters():
    layer, samples, labels = layer_and_samples('plain')
    patches = ConvolutionPatches(layer, samples)
    filters = patches.filters_of(layer.weight, layer.bias)
    matrices = normal_matrices(patches, filters, random_triplets(labels))
    assert matrices.loss(3 * filters) == pytest.approx(9 * matrices.loss(filters))
    alone = [torch.zeros_like(filters) for _ in range(8)]
    for j, one in enumerate(alone):
        one[0, j] = filters[0, j]
    total = sum(matrices.loss(one) for one in alone)
    assert total == pytest.approx(matrices.loss(filters))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), samples_a_chunk=st.integers(1, 30))
def test_matrices_do_not_depend_on_the_chunks(seed, samples_a_chunk):
    layer, samples, labels = layer_and_samples('stride', seed=seed)
    patches = ConvolutionPatches(layer, samples)
    filters = patches.filters_of(layer.weight, layer.bias)
    triplets = random_triplets(labels, seed)
    whole = normal_matrices(patches, filters, triplets)
    triangle = patches.dimension * (patches.dimension + 1) // 2
    limit = 8 * triangle * patches.num_positions * samples_a_chunk
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.CHUNK_BYTES, 'cpu', limit)
        parts = normal_matrices(patches, filters, triplets)
    torch.testing.assert_close(parts.friends, whole.friends)
    torch.testing.assert_close(parts.enemies, whole.enemies)
    assert torch.linalg.eigvalsh(whole.friends).min() > -1e-8 * whole.friends.abs().max()


def test_single_precision_samples_give_matrices_of_single_precision_or_better():
    layer, samples, labels = layer_and_samples('plain')
    triplets = random_triplets(labels)
    exact = ConvolutionPatches(layer, samples)
    filters = exact.filters_of(layer.weight, layer.bias)
    single = ConvolutionPatches(layer.float(), samples.float())
    expected = normal_matrices(exact, filters, triplets)
    found = normal_matrices(single, filters, triplets)
    assert found.friends.dtype == torch.float64
    largest = expected.friends.abs().max()
    assert (found.friends - expected.friends).abs().max() < 1e-5 * largest
