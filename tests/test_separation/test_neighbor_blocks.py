import pytest
import torch

from mmlayerwise.separation import neighbor_blocks as module
from mmlayerwise.separation.neighbor_blocks import BlockSearch, PairList, Plan, relative_error
from mmlayerwise.separation.neighbor_points import Cloud, Frame, Placed, as_queries
from tests.test_separation.test_neighbors import CLOUDS, random


def search(points, *, k=1, dtype=torch.float32, memory=2**28, queries=None, groups=None):
    cloud = Cloud(points, groups)
    asked = None if queries is None else Cloud(queries)
    frame = Frame.of([cloud] if asked is None else [cloud, asked], memory)
    count = len(points if queries is None else queries)
    return BlockSearch(cloud, asked, frame, k, dtype, count, memory)


def exact_squares(points, scale):
    squared = (points.double()[:, None] - points.double()).square().sum(-1) * scale**2
    return squared.fill_diagonal_(torch.inf)


@pytest.mark.parametrize('memory', [2**18, 2**22, 2**26])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('itself', [False, True])
def test_the_parts_of_a_plan_stay_within_the_memory(memory, dtype, itself):
    points, element = Cloud(torch.empty(5000, 100)), torch.finfo(dtype).bits // 8
    plan = Plan.make(points, 5000, 1, dtype, memory, itself)
    block = plan.tile**2 * (element + 1)
    conversions = (2 if plan.hold else 3) * plan.tile * 104 * element
    copy = 5000 * 100 * element if plan.hold else 0
    minima = plan.panel * (5000 // plan.bucket) * element
    pairs = 2 * 16 * plan.panel * plan.limit
    assert block + conversions + copy + minima + pairs <= memory
    assert plan.tile % plan.bucket == 0
    assert itself or not plan.symmetric


def test_half_of_the_products_suffice_among_the_points_themselves(monkeypatch):
    points, computed = random(1000, 40), []
    mm = torch.mm

    def record(left, right, out):
        computed.append(len(left) * right.shape[1])
        return mm(left, right, out=out)

    monkeypatch.setattr(torch, 'mm', record)
    whole = search(points, queries=points).minima(torch.arange(1000))
    assert sum(computed) == 1000**2
    computed.clear()
    monkeypatch.setitem(module.LARGEST_TILE, 'cpu', 64)
    half = search(points)
    assert half.plan.symmetric
    half = half.minima(torch.arange(1000))
    tiles = [64] * 15 + [40]
    assert sum(computed) == (1000**2 + sum(size**2 for size in tiles)) / 2
    assert whole.shape == half.shape


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('name', CLOUDS)
def test_minima_and_reach_are_bounds_of_the_true_distances(name, dtype):
    points = CLOUDS[name]
    found = search(points, k=3, dtype=dtype, memory=200_000)
    rows = torch.arange(len(points))
    minima = torch.cat([found.minima(part) for part in rows.split(found.plan.panel)])
    exact = exact_squares(points, found.points.frame.scale)
    padded = torch.nn.functional.pad(exact, (0, -len(points) % found.plan.bucket), value=torch.inf)
    true_minima = padded.view(len(points), -1, found.plan.bucket).amin(2)
    assert (minima <= true_minima).all()
    reach, hits, many = found._reach(rows, minima)
    near = many[:, None].repeat(1, minima.shape[1])
    near[hits[:, 0], hits[:, 1]] = True
    assert (reach >= exact.sort(1).values[:, 2]).all()
    # Every bucket that holds one of the three nearest is looked into.
    nearest = exact.sort(dim=1, stable=True).indices[:, :3] // found.plan.bucket
    assert near.gather(1, nearest).all()


def test_the_error_bound_holds_for_the_products():
    points = torch.cat([random(60, 500) + 50, random(60, 500, seed=1) * 100])
    frame = Frame.of([Cloud(points)], 2**28)
    for dtype in (torch.float32, torch.float64):
        placed = Placed(Cloud(points), frame, dtype, True, 50)
        rows, norms = placed.rows(0, 120), placed.norms
        squared = (as_queries(rows, 500) @ rows.T).double()
        exact = exact_squares(points, frame.scale).fill_diagonal_(0)
        bound = relative_error(500, dtype) * (norms[:, None] + norms)
        assert ((squared - exact).abs() <= bound).all()


def test_the_error_bound_gives_up_where_it_says_nothing():
    assert relative_error(2**24, torch.float32) == float('inf')
    assert relative_error(2**24, torch.float64) < 1e-8


def test_a_query_with_too_many_pairs_in_question_has_none():
    points = torch.cat([torch.zeros(200, 2), random(20, 2) + 50])
    found = search(points)
    rows = torch.arange(220)
    left, right, many = found.close_pairs(rows, found.minima(rows))
    assert many[:200].all()
    assert not many[200:].any()
    assert set(left.tolist()) == set(range(200, 220))
    nearest = exact_squares(points, 1.0).argmin(1)
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    assert pairs >= {(row, int(nearest[row])) for row in range(200, 220)}


def test_the_points_of_a_query_ascend():
    found = search(random(300, 20), k=3)
    rows = torch.arange(300)
    left, right, _ = found.close_pairs(rows, found.minima(rows))
    for row in range(300):
        assert len(right[left == row]) >= 3
        assert (right[left == row].diff() > 0).all()


def test_a_list_of_pairs_stays_short_and_drops_the_queries_with_too_many():
    rows = torch.tensor([5, 6, 7])
    pairs = PairList(rows, limit=4, itself=True)
    for point in range(12):
        pairs.add(torch.tensor([0, 2]), torch.tensor([point, point]))
        if point % 4 == 0:
            pairs.add(torch.tensor([1]), torch.tensor([point]))
        assert pairs.size <= 2 * 4 * len(rows)
    left, right, many = pairs.finish()
    assert many.tolist() == [True, False, True]
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == [(1, 0), (1, 4), (1, 8)]


def test_a_query_does_not_pair_with_itself():
    pairs = PairList(torch.tensor([5, 6]), limit=2, itself=True)
    pairs.add(torch.tensor([0, 1, 1]), torch.tensor([5, 5, 6]))
    left, right, many = pairs.finish()
    assert (left.tolist(), right.tolist(), many.any().item()) == ([1], [5], False)


def test_pairs_of_one_group_are_not_looked_at():
    points, groups = random(90, 4), torch.arange(90) // 9
    found = search(points, groups=groups, memory=50_000)
    rows = torch.arange(90)
    left, right, _ = found.close_pairs(rows, found.minima(rows))
    assert (groups[left] != groups[right]).all()
    assert set(left.tolist()) == set(range(90))
