import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation.centers import class_centers
from tests.test_separation.test_neighbors import random


@pytest.mark.parametrize(
    'points',
    [random(90, 7), random(90, 7).double() * 1e-40, random(90, 7).half(), random(90, 7) * 1e30],
)
def test_centers_are_the_means_of_the_classes(points):
    members = torch.arange(90) % 4
    centers = class_centers(points, members, 4, 2**20)
    for label in range(4):
        expected = points[members == label].double().mean(0)
        scale = float(points.abs().max().double())
        torch.testing.assert_close(centers[label], expected, rtol=0, atol=1e-13 * scale)
    assert centers.dtype == torch.float64


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(0, 99), st.integers(100, 2000))
def test_the_order_of_the_samples_changes_no_bit(count, seed, memory):
    points = random(count, 5, seed=seed) * 10 ** random(count, 1, seed=seed + 1)
    members = torch.arange(count) % min(3, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    centers = class_centers(points, members, min(3, count), 2**20)
    assert torch.equal(class_centers(points[order], members[order], min(3, count), memory), centers)


def test_centers_of_zeros_are_zero():
    assert (class_centers(torch.zeros(4, 3), torch.arange(4) % 2, 2, 2**20) == 0).all()
