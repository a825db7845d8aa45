from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmlayerwise.datasets import CIFAR10
from mmlayerwise.separation import SeparationError, nearest_neighbors, separation_index
from mmlayerwise.separation import sketch as module
from mmlayerwise.separation.sketch import FeatureBudget, Sketch, sketch_dimension
from tests.test_separation.test_neighbors import random


def pairwise(points):
    return torch.pdist(points.double())


def projection(sketch):
    """The matrix as a definition: every unit vector projected, in units of 1 / sqrt(dimension)."""
    return (sketch(torch.eye(sketch.dimension).double()) * sketch.sketch_dimension**0.5).round()


def test_the_dimension_follows_achlioptas():
    # Theorem 1.1 with beta = 1 and squared distances within 1 ± 0.19, for distances within 1 ± 0.1.
    expected = 6 * log(1000) / (0.19**2 / 2 - 0.19**3 / 3)
    assert sketch_dimension(1000, 0.1) == int(np.ceil(expected)) == 2630
    assert sketch_dimension(10, 0.1) < sketch_dimension(1000, 0.1) < sketch_dimension(1000, 0.05)


@pytest.mark.parametrize('distortion', [0, 1, -0.1, float('nan')])
def test_a_distortion_must_lie_between_zero_and_one(distortion):
    with pytest.raises(SeparationError, match='distortion must be between 0 and 1'):
        sketch_dimension(100, distortion)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
def test_distances_of_random_vectors_keep_within_the_distortion(dtype):
    points = (random(60, 9000) * torch.linspace(0.1, 3, 9000)).to(dtype)
    sketched = Sketch(9000, sketch_dimension(60, 0.15))(points)
    assert sketched.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    ratio = pairwise(sketched) / pairwise(points)
    assert 0.85 < ratio.min() < 0.99
    assert 1.01 < ratio.max() < 1.15


def test_it_is_the_product_with_a_matrix_of_balanced_signs():
    sketch = Sketch(600, 130, seed=3)
    signs = projection(sketch)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 4 / signs.numel() ** 0.5
    points = random(7, 600).double()
    torch.testing.assert_close(sketch(points), points @ signs / 130**0.5)


def test_blocks_and_companions_change_no_bit(monkeypatch):
    points = torch.cat([random(40, 3000) * 10, random(40, 3000, seed=1) * 1e-6 + 1])
    monkeypatch.setattr(module, 'BLOCK_ENTRIES', 50_000)
    whole = Sketch(3000, 200)(points)
    single = torch.cat([Sketch(3000, 200)(row[None]) for row in points])
    assert torch.equal(whole, single)
    assert not torch.equal(whole, Sketch(3000, 200, seed=1)(points))


def test_sums_are_exact_in_any_order():
    points = random(5, 2000) * torch.logspace(-3, 3, 2000)
    signs = projection(Sketch(2000, 64))
    sketched = Sketch(2000, 64)(points.double())
    largest = points.abs().amax(1).double()
    error = (sketched - points.double() @ signs / 8).abs().amax(1)
    assert (error < 2000**0.5 * largest * 2**-40).all()
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
    power = 2.0 ** torch.frexp(points.abs().amax(1))[1].double()[:, None]
    step = 2.0 ** (11 - 52)
    rounded = (points.double() / power / step).round() * step
    shuffled = rounded[:, order] @ signs[order] * power / 8
    assert torch.equal(shuffled, sketched)


def test_the_matrix_stays_what_it_is():
    # Results of different versions could not be compared if it changed.
    signs = projection(Sketch(70, 5))
    assert signs[:3].tolist() == [[1, 1, 1, -1, -1], [1, -1, 1, -1, -1], [1, 1, -1, -1, -1]]
    assert signs.sum().item() == 8


def test_zero_nan_and_infinity():
    points = torch.zeros(4, 50)
    points[1, 3], points[2, 7] = torch.nan, torch.inf
    points[3] = 1e38
    sketched = Sketch(50, 20)(points)
    assert (sketched[0] == 0).all()
    assert sketched[1].isnan().all()
    assert sketched[2].isnan().all()
    assert sketched[3].isfinite().all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(1e-20, 1e20), st.integers(0, 99))
def test_it_is_homogeneous_and_odd(dimension, length, scale, seed):
    points = random(3, dimension, seed=seed).double()
    sketch = Sketch(dimension, length, seed)
    found = sketch(points)
    torch.testing.assert_close(sketch(points * scale), found * scale, rtol=1e-9, atol=1e-9 * scale)
    assert torch.equal(sketch(-points), -found)


@pytest.mark.parametrize('shape', [(3,), (2, 9)])
def test_vectors_of_another_length_are_refused(shape):
    with pytest.raises(SeparationError, match=r'shape \(num_vectors, 8\)'):
        Sketch(8, 2)(torch.zeros(shape))


@pytest.fixture(scope='module')
def pictures(data_root):
    """Pixels of CIFAR-10, raw and through one random convolution."""
    images, labels = CIFAR10(data_root / 'cifar-10-batches-py', 'test').load_arrays()
    pixels = torch.from_numpy(images[:300]).permute(0, 3, 1, 2).float()
    labels = torch.from_numpy(labels[:300]).long()
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU())
    with torch.no_grad():
        convolved = layer(pixels / 128 - 1)
    return {'pixels': pixels.flatten(1), 'convolution': convolved.flatten(1)}, labels


@pytest.mark.parametrize('kind', ['pixels', 'convolution'])
def test_real_features_keep_distances_and_index(kind, pictures):
    features, labels = pictures[0][kind], pictures[1]
    distortion = 0.15
    length = sketch_dimension(len(features), distortion)
    assert length < features.shape[1]
    sketched = Sketch(features.shape[1], length)(features)
    ratio = pairwise(sketched) / pairwise(features)
    assert (ratio - 1).abs().max() < distortion

    # What follows from that: the neighbour found is at most so many times as far as the nearest.
    exact, found = nearest_neighbors(features), nearest_neighbors(sketched)
    distance = (features - features[found.indices[:, 0]]).double().norm(dim=1)
    assert (distance <= exact.distances[:, 0] * (1 + distortion) / (1 - distortion)).all()
    # So only samples whose nearest friend and enemy are about equally far can change sides.
    together = labels[:, None] == labels
    apart = torch.cdist(features.double(), features.double()).fill_diagonal_(torch.inf)
    friend = apart.masked_fill(~together, torch.inf).amin(1)
    enemy = apart.masked_fill(together, torch.inf).amin(1)
    limit = (1 + distortion) / (1 - distortion)
    undecided = (friend / enemy < limit) & (enemy / friend < limit)
    change = abs(separation_index(sketched, labels) - separation_index(features, labels))
    assert change <= undecided.double().mean()
    assert change < 0.03  # half of the index's 95 % interval at 300 samples


def test_only_what_exceeds_the_budget_is_sketched():
    length = sketch_dimension(100, 0.5)
    budget = FeatureBudget(num_samples=100, memory=100 * 2000 * 4, distortion=0.5)
    exact, long = random(3, 2000), random(3, 2001)
    assert budget(exact) is exact
    assert torch.equal(budget(long), Sketch(2001, length)(long))
    # float64 takes twice the memory.
    assert budget(exact.double()).shape == (3, length)
    # A sketch would not be shorter.
    assert not FeatureBudget(100, 1, 0.5).shortens(length)
    assert FeatureBudget(100, 1, 0.5).shortens(length + 1)


def test_a_budget_must_be_positive():
    with pytest.raises(SeparationError, match='feature_memory must be at least 1 byte, got 0'):
        FeatureBudget(100, 0, 0.5)
