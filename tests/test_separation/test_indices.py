import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation import (
    SeparationError,
    center_separation_index,
    chance_level,
    class_separation_index,
    cross_separation_index,
    measure,
    sample_separation_index,
    separation_index,
    wilson_interval,
)
from tests.test_separation.reference import friends


def cloud(seed, count=60, dimension=4, classes=4):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=generator)
    shift = torch.randn(classes, dimension, generator=generator)
    return torch.randn(count, dimension, generator=generator) + shift[labels], labels


clouds = st.builds(
    cloud, st.integers(0, 10_000), st.integers(8, 60), st.integers(1, 6), st.integers(2, 5)
)


@settings(max_examples=40, deadline=None)
@given(clouds)
def test_indices_follow_their_definitions(data):
    features, labels = data
    found = measure(features, labels, order=3)
    expected = friends(features, labels, 3)
    assert found.index == pytest.approx(expected[:, 0].mean(), abs=1e-15)
    for order in (1, 2, 3):
        first = expected[:, :order]
        assert found.high_order(order) == pytest.approx(first.all(1).mean(), abs=1e-15)
        assert found.soft(order) == pytest.approx(first.mean(), abs=1e-15)
        assert found.anti(order) == pytest.approx((~first).all(1).mean(), abs=1e-15)
    assert found.high_order() <= found.index
    assert found.high_order() <= found.soft() <= 1 - found.anti()
    assert found.anti() <= 1 - found.index + 1e-15
    assert found.per_sample.tolist() == expected[:, 0].tolist()
    weighted = sum(index * count for index, count in found.per_class.values())
    assert weighted / len(labels) == pytest.approx(found.index)
    low, high = found.interval()
    assert low <= found.index <= high


@settings(max_examples=25, deadline=None)
@given(clouds, st.integers(0, 100))
def test_rigid_motion_scaling_and_permutation_change_nothing(data, seed):
    features, labels = data[0].double(), data[1]
    reference = separation_index(features, labels)
    generator = torch.Generator().manual_seed(seed)
    size = features.shape[1]
    rotation = torch.linalg.qr(torch.randn(size, size, generator=generator).double())[0]
    assert separation_index(features @ rotation + 7, labels) == reference
    assert separation_index(features * 1e-3, labels) == reference
    order = torch.randperm(len(labels), generator=generator)
    assert separation_index(features[order], labels[order]) == reference
    renamed = torch.tensor([9, 4, 7, 0, 100])[labels]
    assert separation_index(features, renamed) == reference


@settings(max_examples=20, deadline=None)
@given(clouds)
def test_a_data_set_taken_twice_is_perfectly_separated(data):
    features, labels = data
    assert separation_index(features.repeat(2, 1), labels.repeat(2)) == 1


def test_equal_distances_go_to_the_lowest_index():
    # Point 1 lies between 0 and 2: its neighbour is 0, by index.
    features, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1])
    assert sample_separation_index(features, labels).tolist() == [True, True, False]
    swapped = torch.tensor([1, 0, 0])
    assert sample_separation_index(features, swapped).tolist() == [False, False, True]


def test_class_index_is_the_share_within_the_class():
    features = torch.tensor([[0.0], [0.1], [5.0], [5.1], [5.15]])
    labels = torch.tensor([3, 3, 7, 7, 3])
    assert class_separation_index(features, labels) == {3: 2 / 3, 7: 0.5}


def test_maps_are_flattened():
    features, labels = cloud(0, 40, 12)
    assert separation_index(features.view(40, 3, 2, 2), labels) == separation_index(
        features, labels
    )


def test_groups_are_left_out_and_lonely_samples_reported():
    features, labels = cloud(1, 60)
    groups = torch.arange(60) // 6
    expected = friends(features, labels, 2, groups)
    found = measure(features, labels, order=2, groups=groups)
    assert found.friends.tolist() == expected.tolist()
    with pytest.raises(SeparationError, match='60 of 60 samples have fewer than 1 neighbours'):
        separation_index(features, labels, groups=torch.zeros(60, dtype=torch.int64))


def test_cross_index_is_the_accuracy_of_the_nearest_training_sample():
    train, train_labels = cloud(0, 50)
    test, labels = cloud(1, 30)
    squared = ((test.double()[:, None] - train.double()) ** 2).sum(-1)
    expected = (train_labels[squared.argmin(1)] == labels).double().mean().item()
    assert cross_separation_index(test, labels, train, train_labels) == pytest.approx(expected)
    assert cross_separation_index(train, train_labels, train, train_labels) == 1


def test_center_index_compares_with_the_class_means():
    features, labels = cloud(2, 80, classes=5)
    classes = labels.unique()
    means = torch.stack([features[labels == c].double().mean(0) for c in classes])
    nearest = ((features.double()[:, None] - means) ** 2).sum(-1).argmin(1)
    expected = (classes[nearest] == labels).double().mean().item()
    assert center_separation_index(features, labels) == pytest.approx(expected)
    # One class's mean equals the other's: the lowest label wins.
    assert center_separation_index(torch.tensor([[1.0], [1.0]]), torch.tensor([4, 2])) == 0.5


def test_chance_is_the_mean_of_random_neighbours():
    labels = torch.tensor([0, 0, 0, 1, 1, 5])
    expected = np.mean([2 / 5] * 3 + [1 / 5] * 2 + [0])
    assert chance_level(labels) == pytest.approx(expected)
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    expected = np.mean([1 / 4, 1 / 4, 2 / 4, 1 / 4, 1 / 4, 0])
    assert chance_level(labels, groups) == pytest.approx(expected)


def test_wilson_interval_has_the_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for successes, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson_interval(successes / count, count)
        assert found == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(1.0, 10)[1] == 1
    with pytest.raises(SeparationError, match='confidence'):
        wilson_interval(0.5, 10, 1.5)


X, Y = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])


@pytest.mark.parametrize(
    ('features', 'labels', 'message'),
    [
        (X[:1], Y[:1], "at least 2 samples in layer 'conv', got 1"),
        (X, Y[:3], r"in layer 'conv', got \(4, 2\) and \(3,\)"),
        (X[:, 0], Y, r'got \(4,\) and \(4,\)'),
        (X[:, :0], Y, "features are empty in layer 'conv'"),
        (X, Y.float(), "Labels must be integers in layer 'conv', got torch.float32"),
        (X.index_fill(0, Y[:1], torch.nan), Y, "1 of 4 samples hold NaN .* in layer 'conv'"),
        (X.index_fill(0, Y, torch.inf), Y, "2 of 4 samples hold .* infinite .* in layer 'conv'"),
    ],
)
def test_bad_samples_are_refused_with_the_layer_named(features, labels, message):
    with pytest.raises(SeparationError, match=message):
        separation_index(features, labels, layer='conv')


def test_an_order_beyond_the_known_neighbours_is_refused():
    features, labels = cloud(0)
    with pytest.raises(SeparationError, match='order 3 was asked of 2'):
        measure(features, labels, order=2).soft(3)
    with pytest.raises(SeparationError, match='order 60 needs more than 60 samples'):
        measure(features, labels, order=60)
