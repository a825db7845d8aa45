import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from mmlayerwise.separation import SeparationError, nearest_neighbors
from mmlayerwise.separation import neighbors as module
from tests.test_separation.reference import brute_force

SMALL = 20_000  # bytes: forces many blocks


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CLOUDS = {
    'plain': random(200, 9),
    'many dimensions': random(120, 700),
    'far from the origin': random(150, 30) + 1e4,
    'two tight clusters far apart': torch.cat(
        [random(80, 12) * 1e-3 + 1e3, random(80, 12, seed=1) * 1e-3 - 1e3]
    ),
    'one outlier': torch.cat([random(99, 5) * 1e-4, torch.full((1, 5), 1e6)]),
    'ties on a lattice': torch.randint(
        0, 3, (150, 3), generator=torch.Generator().manual_seed(0)
    ).float(),
    'identical points': torch.ones(60, 4),
    'tiny values': random(100, 8).double() * 1e-30,
    'huge values': random(100, 8).double() * 1e30,
    'float64 detail': random(100, 8).double() * 1e-9 + 1,
    'integers': torch.randint(-9, 9, (100, 4), generator=torch.Generator().manual_seed(1)),
    'bfloat16': random(100, 16).bfloat16(),
    'float16': random(100, 16).half(),
}


@pytest.mark.parametrize('memory', [SMALL, module.DEFAULT_MEMORY])
@pytest.mark.parametrize('k', [1, 4])
@pytest.mark.parametrize('name', CLOUDS)
def test_equals_a_float64_brute_force(name, k, memory):
    points = CLOUDS[name]
    before = points.clone()
    found = nearest_neighbors(points, k, max_memory=memory)
    distances, indices = brute_force(points.double(), k)
    assert (found.indices.numpy() == indices).all()
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-12)
    assert torch.equal(points, before)


@settings(max_examples=60, deadline=None)
@given(
    st_numpy.arrays(
        np.float32,
        st.tuples(st.integers(3, 25), st.integers(1, 6)),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    st.integers(1, 2),
)
def test_equals_a_brute_force_where_distances_differ(points, k):
    found = nearest_neighbors(torch.from_numpy(points), k, max_memory=2000)
    distances, _ = brute_force(points, k)
    # Which of two points at equal distances is named may hang on the last bit of a sum.
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-12)
    chosen = points.astype(np.float64)[found.indices.numpy()]
    actual = np.sqrt(((chosen - points.astype(np.float64)[:, None]) ** 2).sum(-1))
    np.testing.assert_allclose(actual, distances, rtol=1e-12)
    assert (found.indices.numpy() != np.arange(len(points))[:, None]).all()


def test_a_copy_of_a_point_is_its_neighbour_and_the_point_itself_is_not():
    points = torch.tensor([[0.0], [5.0], [0.0], [0.0]])
    assert nearest_neighbors(points).indices[:, 0].tolist() == [2, 0, 0, 0]


def test_points_of_one_group_are_no_neighbours():
    points, groups = random(90, 5), torch.arange(90) // 9
    found = nearest_neighbors(points, 3, groups=groups, max_memory=SMALL)
    assert (found.indices.numpy() == brute_force(points, 3, groups)[1]).all()


def test_missing_neighbours_are_marked():
    found = nearest_neighbors(random(3, 2), 4)
    assert (found.indices[:, 2:] == -1).all()
    assert found.distances[:, 2:].isinf().all()
    alone = nearest_neighbors(random(5, 2), 1, groups=torch.zeros(5, dtype=torch.int64))
    assert alone.indices.tolist() == [[-1]] * 5


def test_queries_are_looked_up_among_the_features():
    points, queries = random(70, 6), random(20, 6, seed=1)
    found = nearest_neighbors(points, 2, queries=queries, max_memory=SMALL)
    squared = ((queries.double()[:, None] - points.double()) ** 2).sum(-1)
    assert torch.equal(found.indices, squared.argsort(1)[:, :2])
    # A query that is a point finds it: nothing is excluded.
    assert nearest_neighbors(points, queries=points[:5]).indices[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_reduced_matmul_precision_does_not_reach_the_search():
    torch.set_float32_matmul_precision('medium')
    try:
        points = random(150, 40) + 3
        with torch.autocast('cpu', torch.bfloat16):
            found = nearest_neighbors(points)
        assert (found.indices.numpy() == brute_force(points)[1]).all()
        assert torch.get_float32_matmul_precision() == 'medium'
    finally:
        torch.set_float32_matmul_precision('highest')


@pytest.mark.parametrize('memory', [2**16, 2**20, 2**24])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_blocks_stay_within_the_memory(memory, dtype, monkeypatch):
    search = module._Search.prepare(torch.empty(5000, 100).normal_(), 1, None, None, None, memory)
    rows, columns = search.block_sizes(dtype)
    element = torch.finfo(dtype).bits // 8
    assert rows * columns * element + (rows + columns) * 100 * (element + 8) <= memory
    # What is really multiplied has these sizes.
    seen = []
    addmm = torch.addmm

    def record(base, left, right, **options):
        seen.append((left.shape[0], right.shape[1]))
        return addmm(base, left, right, **options)

    monkeypatch.setattr(torch, 'addmm', record)
    search.candidates(torch.arange(min(rows, 5000)), dtype, columns)
    assert max(a for a, _ in seen) <= rows
    assert max(b for _, b in seen) <= columns
    assert sum(b for _, b in seen) == 5000


def test_the_error_bound_holds_for_the_products():
    points = torch.cat([random(60, 500) + 50, random(60, 500, seed=1) * 100])
    search = module._Search.prepare(points, 1, None, None, None, 2**28)
    for dtype in (torch.float32, torch.float64):
        scaled = search.convert(points, dtype)
        norms = search.point_norms
        product = torch.addmm(norms.to(dtype), scaled, scaled.T, alpha=-2).double()
        squared = product + norms[:, None]
        exact = (points.double()[:, None] - points.double()).square().sum(-1) * search.scale**2
        bound = search.relative_error(dtype) * (norms[:, None] + norms)
        assert ((squared - exact).abs() <= bound).all()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(features=torch.zeros(3)), 'must have the shape'),
        (dict(features=torch.zeros(3, 0)), 'must have the shape'),
        (dict(features=torch.zeros(3, 2), k=0), 'k must be at least 1, got 0'),
        (dict(features=torch.zeros(3, 2), queries=torch.zeros(1, 3)), '3 dimensions'),
        (dict(features=torch.zeros(3, 2), groups=torch.zeros(2)), 'one number a point'),
        (
            dict(features=torch.zeros(3, 2), queries=torch.zeros(1, 2), groups=torch.zeros(3)),
            'go together',
        ),
        (dict(features=torch.tensor([[1.0], [torch.nan]])), 'NaN'),
        (dict(features=torch.tensor([[1.0], [torch.inf]])), 'infinite'),
        (dict(features=torch.zeros(3, 2, dtype=torch.complex64)), 'must be real'),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(SeparationError, match=message):
        nearest_neighbors(**arguments)


@pytest.mark.gpu
@pytest.mark.parametrize('name', CLOUDS)
def test_equals_the_brute_force_on_cuda(name):
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        found = nearest_neighbors(CLOUDS[name].cuda(), 3, max_memory=SMALL)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert (found.indices.cpu().numpy() == brute_force(CLOUDS[name].double(), 3)[1]).all()
