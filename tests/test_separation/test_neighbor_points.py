import numpy as np
import pytest
import torch

from mmlayerwise.separation import SeparationError
from mmlayerwise.separation.neighbor_points import Cloud, Frame, Placed, squared_distances
from tests.test_separation.test_neighbors import CLOUDS, random


def test_a_subset_reads_the_chosen_points_and_groups():
    cloud = Cloud(torch.arange(12.0).view(6, 2), torch.arange(6) * 10)
    some = cloud.subset(torch.tensor([5, 1, 3])).subset(torch.tensor([2, 0]))
    assert len(some) == 2
    assert some.rows(0, 9)[:, 0].tolist() == [6, 10]
    assert some.take(torch.tensor([1]))[0].tolist() == [10, 11]
    assert some.groups_of(slice(0, 2)).tolist() == [30, 50]


@pytest.mark.parametrize('name', CLOUDS)
def test_placed_points_are_the_shifted_and_scaled_ones(name):
    points = CLOUDS[name]
    frame = Frame.of([Cloud(points)], 10_000)
    expected = (points.double() - frame.shift.double()) * frame.scale
    assert 0.5 <= expected.abs().max() <= 1 or name == 'identical points'
    for dtype in (torch.float32, torch.float64):
        placed = frame.place(points, dtype)
        assert placed.dtype == dtype
        unit = torch.finfo(dtype).eps / 2
        assert ((placed.double() - expected).abs() <= 1.01 * unit * expected.abs()).all()


@pytest.mark.parametrize('hold', [False, True])
def test_points_are_read_alike_whether_held_or_not(hold):
    cloud = Cloud(random(50, 7))
    frame = Frame.of([cloud], 2**20)
    placed = Placed(cloud, frame, torch.float32, hold, 8, error=0.25, tiny=1e-3)
    expected = frame.place(cloud.values, torch.float32)
    norms = expected.double().square().sum(1)
    behind = torch.stack([norms * 0.75 - 1e-3, torch.ones(50)], 1)
    expected = torch.cat([expected, behind.float(), torch.zeros(50, 3)], 1)
    assert torch.equal(placed.rows(3, 9), expected[3:9])
    assert torch.equal(placed.take(torch.tensor([4, 0])), expected[[4, 0]])
    torch.testing.assert_close(placed.norms, norms, rtol=1e-14, atol=0)
    assert (placed.held is not None) == hold


def test_values_near_the_largest_float_do_not_overflow():
    points = torch.tensor([[3e38, -3e38], [3e38, 3e38], [-3e38, 3e38]])
    frame = Frame.of([Cloud(points)], 2**20)
    assert frame.place(points, torch.float32).abs().max() <= 1
    assert not frame.plain


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize('where', [0, 1])
def test_values_that_are_not_finite_are_refused(value, where):
    clouds = [random(9, 3), random(9, 3)]
    clouds[where][4, 1] = value
    with pytest.raises(SeparationError, match='NaN or infinite'):
        Frame.of([Cloud(one) for one in clouds], 2**20)


@pytest.mark.parametrize('dimension', [1, 2, 3, 64, 777])
def test_squared_distances_do_not_depend_on_the_batch(dimension):
    left, right = random(200, dimension) * 1e3, random(200, dimension, seed=1)
    whole = squared_distances(left, right)
    exact = ((left.double() - right.double()) ** 2).numpy()
    np.testing.assert_allclose(whole.numpy(), exact.sum(1), rtol=1e-14)
    single = torch.cat([squared_distances(left[i : i + 1], right[i : i + 1]) for i in range(200)])
    assert torch.equal(single, whole)
    assert torch.equal(squared_distances(right, left), whole)
