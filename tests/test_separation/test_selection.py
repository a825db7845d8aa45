from math import exp

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation import (
    FeatureRanking,
    SeparationError,
    rank_features,
    rank_features_by_smoothness,
    separation_index,
    smoothness_index,
)
from mmlayerwise.separation import greedy as greedy_module


def friend(labels):
    return lambda i, q, others: float(labels[i] == labels[q])


def smooth(targets, kind):
    def gain(i, q, others):
        distances = [abs(targets[i] - targets[p]) for p in others]
        nearest, farthest = min(distances), max(distances)
        if farthest - nearest <= 1e-12 * farthest:
            return 1.0
        found = abs(targets[i] - targets[q])
        if kind == 'linear':
            return (farthest - found) / (farthest - nearest)
        return exp(-2 * (found - nearest) / (sum(distances) / len(distances)))

    return gain


def naive_index(maps, chosen, gain, groups):
    """Index of the chosen features, every distance computed anew in float64."""
    count, total = len(maps), 0.0
    for i in range(count):
        others = [q for q in range(count) if q != i and (groups is None or groups[q] != groups[i])]

        def distance(q, i=i):
            return sum(
                (a - b) ** 2 for f in chosen for a, b in zip(maps[i][f], maps[q][f], strict=True)
            )

        total += gain(i, min(others, key=lambda q: (distance(q), q)), others)
    return total / count


def naive_ranking(features, gain, groups=None, shortlist=None):
    """Greedy forward selection in plain loops; ties go to the lowest feature."""
    maps = features.double().flatten(2).tolist()
    groups = None if groups is None else groups.tolist()
    number = len(maps[0])
    alone = [naive_index(maps, [f], gain, groups) for f in range(number)]
    ranked = sorted(range(number), key=lambda f: (-round(alone[f], 9), f))
    order, indices = ranked[:1], [alone[ranked[0]]]
    while len(order) < number:
        rest = [f for f in ranked if f not in order][:shortlist]
        found = {f: naive_index(maps, [*order, f], gain, groups) for f in rest}
        best = min(rest, key=lambda f: (-round(found[f], 9), f))
        order.append(best)
        indices.append(found[best])
    return order, indices, alone


def check(ranking, expected):
    order, indices, alone = expected
    assert ranking.order == order
    assert ranking.indices.tolist() == pytest.approx(indices)
    assert ranking.alone.tolist() == pytest.approx(alone)


def maps(seed, count, number, shape=(2,), whole=False):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, number, *shape, generator=generator)
    values *= torch.rand(number, *[1] * len(shape), generator=generator) * 3
    return values.relu().round() if whole else values.relu()


@pytest.fixture(scope='module', params=['usual', 'tiny'])
def block_sizes(request):
    """Lists and blocks of the usual size, and so small that every path is taken."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == 'tiny':
            for name, value in (('LONGEST', 3), ('SHORTEST', 2), ('SETTLED', 1), ('BLOCK', 40)):
                patch.setattr(greedy_module, f'_{name}', value)
        yield


seeds = st.integers(0, 2**31)
few = settings(max_examples=20, deadline=None)


@pytest.mark.usefixtures('block_sizes')
@few
@given(
    seeds,
    st.integers(3, 14),
    st.integers(1, 6),
    st.sampled_from([(), (1,), (2, 1)]),
    st.booleans(),
    st.sampled_from([None, 1, 2]),
)
def test_the_ranking_is_that_of_measuring_every_set_anew(
    seed, count, number, shape, whole, shortlist
):
    # Rectified whole numbers: duplicates, equal distances and constant features abound.
    features = maps(seed, count, number, shape, whole)
    labels = torch.randint(0, 3, (count,), generator=torch.Generator().manual_seed(seed))
    found = rank_features(features, labels, shortlist=shortlist)
    naive = features if shape else features[:, :, None]
    check(found, naive_ranking(naive, friend(labels.tolist()), shortlist=shortlist))


@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize(('longest', 'max_memory'), [(2, 2**28), (4, 2**28), (3, 1000)])
def test_short_lists_and_little_memory_change_nothing(monkeypatch, whole, longest, max_memory):
    # Lists of a few of 24 samples leave much open, so that every path is taken.
    monkeypatch.setattr(greedy_module, '_LONGEST', longest)
    monkeypatch.setattr(greedy_module, '_SHORTEST', 2)
    monkeypatch.setattr(greedy_module, '_SETTLED', 2)
    monkeypatch.setattr(greedy_module, '_BLOCK', 40)
    features = maps(longest, 24, 7, (2,), whole)
    labels = torch.randint(0, 2, (24,), generator=torch.Generator().manual_seed(longest))
    found = rank_features(features, labels, max_memory=max_memory)
    check(found, naive_ranking(features, friend(labels.tolist())))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.int64])
def test_any_real_dtype_is_ranked(dtype):
    features = (maps(2, 15, 5) * 3).to(dtype)
    labels = torch.arange(15) % 3
    check(rank_features(features, labels), naive_ranking(features, friend(labels.tolist())))


@pytest.mark.parametrize(('scale', 'shift'), [(2.0**-100, 0), (2.0**100, 0), (1, 1000)])
def test_scale_and_offset_do_not_matter(scale, shift):
    features, labels = maps(2, 40, 6, whole=True), torch.arange(40) % 3
    before, after = rank_features(features, labels), rank_features(features * scale + shift, labels)
    assert after.order == before.order
    assert torch.equal(after.indices, before.indices)
    assert torch.equal(after.alone, before.alone)


def test_distances_that_float32_cannot_tell_apart_are_told_apart():
    # Triples far from each other: the friend of the first is nearer than the enemy by 1e-9 or
    # farther, and which part of the distance lies in which feature differs.
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(20, 2, generator=generator, dtype=torch.float64)
    nearer = (torch.arange(20) % 2 * 2 - 1) * 1e-9
    features = torch.zeros(20, 3, 3, dtype=torch.float64)
    features[:, :, 0] = 16 * torch.arange(20)[:, None]
    features[:, 1, 1], features[:, 1, 2] = shares[:, 0].sqrt(), (1 - shares[:, 0]).sqrt()
    features[:, 2, 1] = shares[:, 1].sqrt()
    features[:, 2, 2] = (1 + nearer - shares[:, 1]).sqrt()
    labels = torch.tensor([0, 0, 1]).repeat(20)
    features = features.flatten(0, 1)
    check(rank_features(features, labels), naive_ranking(features[:, :, None], friend(labels)))


def test_groups_are_no_neighbours():
    features, groups = maps(7, 18, 5), torch.arange(18) // 3
    labels = torch.arange(18) % 2
    found = rank_features(features, labels, groups=groups)
    check(found, naive_ranking(features, friend(labels.tolist()), groups))
    targets = torch.randn(18, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = rank_features_by_smoothness(features, targets, groups=groups)
    check(found, naive_ranking(features, smooth(targets.tolist(), 'linear'), groups))


@pytest.mark.usefixtures('block_sizes')
@pytest.mark.parametrize('kind', ['linear', 'exponential'])
@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(3, 12), st.integers(1, 5), st.booleans())
def test_the_ranking_by_smoothness_is_that_of_measuring_anew(kind, seed, count, number, whole):
    features = maps(seed, count, number, (2,), whole)
    targets = torch.randn(count, generator=torch.Generator().manual_seed(seed)).double()
    found = rank_features_by_smoothness(features, targets, kind=kind, gamma=2)
    check(found, naive_ranking(features, smooth(targets.tolist(), kind)))


def test_the_curve_is_the_index_of_the_first_features():
    features, labels = maps(11, 60, 9, (2, 2)), torch.arange(60) % 4
    targets = torch.randn(60, 4, generator=torch.Generator().manual_seed(2))
    by_labels = rank_features(features, labels)
    by_targets = rank_features_by_smoothness(features, targets)
    for k in range(1, 10):
        part = features[:, by_labels.order[:k]]
        assert by_labels.indices[k - 1] == separation_index(part, labels)
        part = features[:, by_targets.order[:k]]
        expected = smoothness_index(part, targets)
        assert float(by_targets.indices[k - 1]) == pytest.approx(expected, abs=1e-9)


def test_the_informative_feature_comes_first_and_suffices():
    labels = torch.arange(30) % 3
    features = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)) / 10
    features[:, 4] += labels * 10
    found = rank_features(features, labels)
    assert found.order[0] == 4
    assert found.alone[4] == 1
    assert found.selected() == [4]


def test_equal_features_are_taken_from_the_lowest_number():
    labels = torch.arange(12) % 2
    features = labels.float()[:, None].repeat(1, 5)
    assert rank_features(features, labels).order == [0, 1, 2, 3, 4]
    assert rank_features_by_smoothness(features, labels).order == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(('tolerance', 'kept'), [(0, 3), (0.005, 3), (0.01, 2), (0.3, 1)])
def test_the_smallest_number_within_the_tolerance_is_kept(tolerance, kept):
    indices = torch.tensor([0.6, 0.89, 0.9, 0.85], dtype=torch.float64)
    ranking = FeatureRanking([7, 2, 5, 0], indices, torch.zeros(8))
    assert ranking.num_kept(tolerance) == kept
    assert ranking.selected(tolerance) == sorted([7, 2, 5][:kept])


def test_the_ranking_stops_early_and_tells_its_progress():
    features, labels = maps(1, 20, 6), torch.arange(20) % 2
    calls = []
    found = rank_features(
        features, labels, max_features=3, progress=lambda done, total: calls.append((done, total))
    )
    assert found.order == rank_features(features, labels).order[:3]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert rank_features(features, labels, max_features=99).order[3:] != []


@pytest.mark.parametrize(
    ('features', 'labels', 'options', 'message'),
    [
        (torch.eye(4), torch.zeros(3).long(), {}, r'got \(4, 4\) and \(3,\)'),
        (torch.eye(4) / 0, torch.zeros(4).long(), {}, 'NaN or infinite'),
        (torch.eye(1), torch.zeros(1).long(), {}, 'at least 2 samples'),
        (torch.eye(4), torch.zeros(4), {}, 'must be integers'),
        (torch.zeros(4, 0), torch.zeros(4).long(), {}, 'empty'),
        (torch.eye(4), torch.zeros(4).long(), {'max_features': 0}, 'max_features must be'),
        (torch.eye(4), torch.zeros(4).long(), {'shortlist': -1}, 'shortlist must be'),
        (torch.eye(4), torch.zeros(4).long(), {'groups': torch.zeros(4)}, 'of one group'),
        (torch.eye(4), torch.zeros(4).long(), {'groups': torch.zeros(3)}, 'one number a sample'),
    ],
)
def test_bad_input_is_named(features, labels, options, message):
    with pytest.raises(SeparationError, match=message):
        rank_features(features, labels, **options)


def test_bad_targets_and_tolerances_are_named():
    with pytest.raises(SeparationError, match='NaN or infinite targets'):
        rank_features_by_smoothness(torch.eye(3), torch.tensor([0, 1, torch.inf]))
    with pytest.raises(SeparationError, match="'linear' or 'exponential'"):
        rank_features_by_smoothness(torch.eye(3), torch.zeros(3), kind='square')
    with pytest.raises(SeparationError, match='of one group'):
        rank_features_by_smoothness(torch.eye(3), torch.zeros(3), groups=torch.zeros(3))
    with pytest.raises(SeparationError, match='tolerance must not be negative'):
        FeatureRanking([0], torch.ones(1), torch.ones(1)).num_kept(-0.1)
