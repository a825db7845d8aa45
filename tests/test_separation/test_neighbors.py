from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from mmlayerwise.separation import SeparationError, nearest_neighbors
from mmlayerwise.separation import neighbor_search as search
from mmlayerwise.separation import neighbors as module
from tests.test_separation.reference import brute_force

SMALL = 20_000  # bytes: forces many blocks
NEEDS_FAISS = pytest.mark.skipif(find_spec('faiss') is None, reason='faiss is not installed')


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


BACKENDS = ['exact', pytest.param('faiss', marks=NEEDS_FAISS)]


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('copies', [1, 7, 100])
@pytest.mark.parametrize('grouped', [False, True])
def test_many_copies_of_points_are_ordered_by_index(backend, copies, grouped):
    generator = torch.Generator().manual_seed(copies)
    # Of far clusters, so that float32 leaves all of a cluster in question.
    centers = random(5, 6) + torch.arange(5)[:, None] * 1e4
    points = torch.cat([centers.repeat(copies, 1), random(40, 6), -torch.zeros(3, 6)])
    points = torch.cat([points, torch.zeros(3, 6)])[
        torch.randperm(5 * copies + 46, generator=generator)
    ]
    groups = torch.randint(0, 9, (len(points),), generator=generator) if grouped else None
    found = nearest_neighbors(points, 4, groups=groups, backend=backend)
    distances, indices = brute_force(points, 4, groups)
    assert (found.indices.numpy() == indices).all()
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-12)


def test_copies_among_queries_and_points_are_found():
    points, queries = random(6, 3).repeat(90, 1), random(6, 3).repeat(2, 1)
    found = nearest_neighbors(points, 3, queries=queries)
    assert found.indices.tolist() == [[row % 6, row % 6 + 6, row % 6 + 12] for row in range(12)]
    assert (found.distances == 0).all()


def test_a_dead_layer_costs_no_comparison_of_every_pair(monkeypatch):
    compared = []
    between = search.Ranking.between

    def record(ranking, query, point):
        compared.append(len(query))
        return between(ranking, query, point)

    monkeypatch.setattr(search.Ranking, 'between', record)
    monkeypatch.setattr(search.Ranking, 'compare_directly', None)
    found = nearest_neighbors(torch.full((3000, 64), 0.1), 3)
    assert found.indices[:3].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3]]
    assert (found.indices[3:] == torch.arange(3)).all()
    assert sum(compared) < 3000


@pytest.mark.parametrize('backend', BACKENDS)
def test_the_result_depends_on_neither_memory_nor_the_other_queries(backend):
    points = random(700, 33)
    whole = nearest_neighbors(points, 3, backend=backend)
    for part in torch.arange(700).split(97):
        own = nearest_neighbors(
            points,
            3,
            queries=points[part],
            groups=torch.arange(700),
            query_groups=part,
            max_memory=SMALL,
        )
        assert torch.equal(own.indices, whole.indices[part])
        assert torch.equal(own.distances, whole.distances[part])


@NEEDS_FAISS
@pytest.mark.parametrize('name', CLOUDS)
def test_faiss_gives_the_exact_result(name):
    exact = nearest_neighbors(CLOUDS[name], 3)
    found = nearest_neighbors(CLOUDS[name], 3, backend='faiss')
    assert torch.equal(found.indices, exact.indices)
    assert torch.equal(found.distances, exact.distances)


def test_faiss_is_offered_only_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(module, 'find_spec', lambda name: None)
    assert list(module.neighbor_backends()) == ['exact']


@pytest.mark.parametrize('error', [torch.OutOfMemoryError, RuntimeError])
def test_smaller_blocks_are_tried_where_memory_runs_out(error, monkeypatch, caplog):
    tried = []
    frame = module.Frame.of

    def scarce(clouds, memory):
        tried.append(memory)
        if memory > 2**22:
            raise error('DefaultCPUAllocator: not enough memory')
        return frame(clouds, memory)

    monkeypatch.setattr(module.Frame, 'of', scarce)
    points = random(50, 4)
    found = nearest_neighbors(points, max_memory=2**24)
    assert tried == [2**24, 2**23, 2**22]
    assert (found.indices.numpy() == brute_force(points)[1]).all()
    assert [record.args[1] for record in caplog.records] == [8, 4]


def test_a_device_without_any_memory_is_named(monkeypatch):
    def scarce(clouds, memory):
        raise torch.OutOfMemoryError('nothing left')

    monkeypatch.setattr(module.Frame, 'of', scarce)
    with pytest.raises(SeparationError, match=r'cpu has no memory left .* 1 MiB \(nothing left\)'):
        nearest_neighbors(random(5, 2))


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def broken(clouds, memory):
        raise RuntimeError('something else')

    monkeypatch.setattr(module.Frame, 'of', broken)
    with pytest.raises(RuntimeError, match='something else'):
        nearest_neighbors(random(5, 2))


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
