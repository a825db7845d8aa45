from math import dist, exp, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation import (
    SeparationError,
    cross_smoothness_index,
    measure_cross_smoothness,
    measure_smoothness,
    sample_smoothness_index,
    separation_index,
    smoothness_index,
)

GAMMA = 1.7


def brute_force(features, targets, order, kind, train=None, groups=None):
    """Values of the nearest neighbours, in plain float64 loops."""
    train_features, train_targets = (features, targets) if train is None else train
    rows = []
    for i, (x, y) in enumerate(zip(features, targets, strict=True)):
        others = [
            q
            for q in range(len(train_features))
            if (train is not None or q != i) and (groups is None or groups[q] != groups[i])
        ]
        by_features = sorted(others, key=lambda q: (dist(x, train_features[q]), q))
        distances = sorted(dist(y, train_targets[q]) for q in others)
        largest, mean = distances[-1], sum(distances) / len(distances)
        row = []
        for k in range(order):
            found = dist(y, train_targets[by_features[k]])
            if largest - distances[k] <= 1e-12 * largest:
                row.append(1.0)
            elif kind == 'linear':
                row.append((largest - found) / (largest - distances[k]))
            else:
                row.append(exp(-GAMMA * (found - distances[k]) / mean))
        rows.append(row)
    return rows


def points(seed, count, dimension):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimension, generator=generator, dtype=torch.float64)


kinds = pytest.mark.parametrize('kind', ['linear', 'exponential'])
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


@kinds
@few
@given(seeds, st.integers(5, 14), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_all_indices_agree_with_the_brute_force(kind, seed, count, dimension, size, order):
    features, targets = points(seed, count, dimension), points(seed + 1, count, size)
    found = measure_smoothness(features, targets, kind=kind, gamma=GAMMA, order=order)
    rows = brute_force(features.tolist(), targets.tolist(), order, kind)
    expected = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-9)
    firsts = [row[0] for row in rows]
    assert found.index == pytest.approx(sum(firsts) / count)
    assert found.high_order() == pytest.approx(sum(min(row) for row in rows) / count)
    assert found.soft() == pytest.approx(sum(sum(row) / order for row in rows) / count)
    assert found.anti() == pytest.approx(sum(min(1 - v for v in row) for row in rows) / count)
    assert found.high_order(1) == pytest.approx(found.index)
    assert found.soft(1) == pytest.approx(found.index)
    assert found.anti(1) == pytest.approx(1 - found.index)
    assert found.high_order() <= found.index + 1e-12
    assert found.anti() <= 1 - found.index + 1e-12


@kinds
@few
@given(seeds, st.integers(1, 8), st.integers(3, 9), st.integers(1, 2))
def test_the_cross_index_agrees_with_the_brute_force(kind, seed, count, num_train, order):
    features, targets = points(seed, count, 2), points(seed + 1, count, 2)
    train_features, train_targets = points(seed + 2, num_train, 2), points(seed + 3, num_train, 2)
    found = measure_cross_smoothness(
        features, targets, train_features, train_targets, kind=kind, gamma=GAMMA, order=order
    )
    alone = cross_smoothness_index(
        features, targets, train_features, train_targets, kind=kind, gamma=GAMMA
    )
    assert found.index == pytest.approx(alone)
    train = (train_features.tolist(), train_targets.tolist())
    rows = brute_force(features.tolist(), targets.tolist(), order, kind, train)
    expected = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-9)


@kinds
def test_samples_of_one_group_are_not_compared(kind):
    features, targets = points(3, 12, 2), points(4, 12, 1)
    groups = torch.arange(12) // 3
    found = measure_smoothness(features, targets, kind=kind, gamma=GAMMA, order=2, groups=groups)
    rows = brute_force(features.tolist(), targets.tolist(), 2, kind, groups=groups.tolist())
    torch.testing.assert_close(found.values, torch.tensor(rows, dtype=torch.float64))


@kinds
@few
@given(seeds, st.integers(2, 12), st.floats(0.01, 100))
def test_motion_scaling_and_order_of_samples_do_not_matter(kind, seed, count, scale):
    features, targets = points(seed, count, 3), points(seed + 1, count, 2)
    before = sample_smoothness_index(features, targets, kind=kind)
    assert ((before >= 0) & (before <= 1)).all()
    rotation = torch.linalg.qr(points(seed + 2, 3, 3)).Q
    turn = torch.linalg.qr(points(seed + 3, 2, 2)).Q
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    after = sample_smoothness_index(
        (features @ rotation * scale + 3)[order], (targets @ turn / scale - 5)[order], kind=kind
    )
    torch.testing.assert_close(after, before[order], rtol=1e-6, atol=1e-6)


def test_blocks_of_any_size_give_the_same_values():
    features, targets = points(0, 40, 3), points(1, 40, 2)
    whole = measure_smoothness(features, targets, order=3)
    blocked = measure_smoothness(features, targets, order=3, max_memory=20_000)
    assert torch.equal(whole.values, blocked.values)
    assert whole.chance == pytest.approx(blocked.chance)


def test_hand_computed_line():
    # Neighbours in x: 1, 0, 1, 2; targets 0, 1, 5, 2.
    features, targets = torch.tensor([[0.0], [1.0], [2.5], [6.0]]), torch.tensor([0, 1, 5, 2])
    linear = sample_smoothness_index(features, targets)
    expected = [(5 - 1) / (5 - 1), (4 - 1) / (4 - 1), (5 - 4) / (5 - 3), (3 - 3) / (3 - 1)]
    assert linear.tolist() == pytest.approx(expected)
    exponential = sample_smoothness_index(features, targets, kind='exponential', gamma=2)
    expected = [1, 1, exp(-2 * (4 - 3) / 4), exp(-2 * (3 - 1) / 2)]
    assert exponential.tolist() == pytest.approx(expected)
    assert smoothness_index(features, targets) == pytest.approx(2.5 / 4)


def test_targets_that_follow_the_features_are_perfectly_smooth():
    features = points(5, 30, 2)
    found = measure_smoothness(features, features * 3 - 1, order=4)
    assert torch.equal(found.values, torch.ones(30, 4, dtype=torch.float64))
    assert found.high_order() == found.soft() == 1
    assert found.anti() == 0
    assert found.interval() == (1, 1)


@few
@given(seeds, st.integers(2, 4))
def test_one_hot_targets_give_the_separation_index(seed, num_classes):
    features = points(seed, 4 * num_classes, 2)
    labels = torch.arange(4 * num_classes) % num_classes
    targets = torch.nn.functional.one_hot(labels)
    assert smoothness_index(features, targets) == pytest.approx(separation_index(features, labels))


@kinds
def test_equally_far_targets_count_as_smooth(kind):
    features = points(1, 6, 2)
    assert smoothness_index(features, torch.full((6,), 2.5), kind=kind) == 1
    assert smoothness_index(features, torch.eye(6), kind=kind) == 1
    assert smoothness_index(features[:2], torch.tensor([0.0, 9.0]), kind=kind) == 1


def test_the_chance_level_is_the_mean_over_all_neighbours():
    features, targets = points(0, 9, 2), points(1, 9, 1)
    rows = []
    for i in range(9):
        distances = [abs(float(targets[i] - targets[q])) for q in range(9) if q != i]
        span = max(distances) - min(distances)
        rows.append(sum((max(distances) - d) / span for d in distances) / 8)
    assert measure_smoothness(features, targets).chance == pytest.approx(sum(rows) / 9)


def test_the_interval_is_the_normal_one():
    found = measure_smoothness(points(0, 50, 2), points(1, 50, 1))
    values = found.per_sample.tolist()
    variance = sum((value - found.index) ** 2 for value in values) / 49
    low, high = found.interval(0.95)
    assert high - low == pytest.approx(2 * 1.959964 * sqrt(variance / 50))
    assert low < found.index < high
    single = measure_cross_smoothness(
        points(0, 1, 2), points(1, 1, 1), points(2, 5, 2), torch.arange(5)
    )
    assert single.interval() == (0, 1)


def bad_targets():
    nan = torch.zeros(4)
    nan[1] = torch.nan
    return nan


@pytest.mark.parametrize(
    ('arguments', 'options', 'message'),
    [
        ((torch.eye(4), torch.zeros(3)), {}, r'got \(4, 4\) and \(3,\)'),
        ((torch.zeros(4), torch.zeros(4)), {}, r'got \(4,\) and \(4,\)'),
        ((torch.eye(1), torch.zeros(1)), {}, 'at least 2 samples, got 1'),
        ((torch.eye(4), bad_targets()), {}, '1 of 4 samples have NaN or infinite targets'),
        ((torch.eye(4) / 0, torch.zeros(4)), {'layer': 'neck'}, "NaN or infinite .*'neck'"),
        ((torch.eye(4), torch.zeros(4, 0)), {}, 'at least one a sample'),
        ((torch.zeros(4, 0), torch.zeros(4)), {}, 'empty'),
        ((torch.eye(4), torch.zeros(4).cfloat()), {}, 'real numbers'),
        ((torch.eye(4), torch.zeros(4)), {'order': 4}, 'order 4 needs at least 5 samples'),
        ((torch.eye(4), torch.zeros(4)), {'order': 0}, 'order of 1 or more'),
        ((torch.eye(4), torch.zeros(4)), {'kind': 'cubic'}, "'linear' or 'exponential'.*'cubic'"),
        ((torch.eye(4), torch.zeros(4)), {'gamma': 0}, 'gamma must be positive'),
        ((torch.eye(4), torch.zeros(4)), {'groups': torch.zeros(4).long()}, '4 of 4 .* own group'),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(SeparationError, match=message):
        measure_smoothness(*arguments, **options)


def test_bad_input_of_the_cross_index_is_named():
    features = torch.eye(3)
    with pytest.raises(SeparationError, match='2 components and training targets 1'):
        measure_cross_smoothness(features, torch.zeros(3, 2), features, torch.zeros(3))
    with pytest.raises(SeparationError, match='order 4 needs at least 4 training samples'):
        measure_cross_smoothness(features, torch.zeros(3), features, torch.zeros(3), order=4)
    with pytest.raises(SeparationError, match='dimensions'):
        measure_cross_smoothness(features, torch.zeros(3), torch.eye(4), torch.zeros(4))


def test_orders_beyond_the_measured_one_are_refused():
    found = measure_smoothness(points(0, 6, 2), points(1, 6, 1), order=2)
    with pytest.raises(SeparationError, match='order 3 was asked of 2 known'):
        found.soft(3)
    with pytest.raises(SeparationError, match='confidence'):
        found.interval(1)
