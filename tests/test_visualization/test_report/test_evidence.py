import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation import SeparationMeter, measure
from mmlayerwise.separation.batches import as_batches
from mmlayerwise.separation.samples import Extracted
from mmlayerwise.visualization.report.evidence import (
    EvidenceObserver,
    first_pairs,
    look_closer,
    pairs_per_layer,
    principal_components,
)

PER_IMAGE = 2**24


def closer(features, labels, ids, priorities, groups=None, **options):
    found = measure(features, labels, groups=groups)
    return look_closer(Extracted(features, labels, ids), found, priorities, **options)


def drawn(count, dimension=5, seed=0):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 30), st.integers(2, 60), st.integers(0, 1000))
def test_principal_components_are_those_of_the_singular_value_decomposition(count, dimension, seed):
    features = drawn(count, dimension, seed)
    points, explained = principal_components(features)
    centered = features.double().numpy() - features.double().numpy().mean(0)
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    expected = left[:, :2] * values[:2]
    assert np.abs(points.numpy()) == pytest.approx(np.abs(expected), abs=1e-6)
    assert explained == pytest.approx(tuple(values[:2] ** 2 / (values**2).sum()))
    for axis in points.T:
        assert axis[axis.abs().argmax()] > 0


def test_samples_that_span_less_than_a_plane_are_projected_too():
    points, explained = principal_components(torch.full((4, 3), 7.0))
    assert (points == 0).all()
    assert explained == (0.0, 0.0)
    points, explained = principal_components(torch.tensor([[0.0], [1.0], [3.0]]))
    assert points[:, 0].tolist() == pytest.approx([-4 / 3, -1 / 3, 5 / 3])
    assert points[:, 1].abs().max() < 1e-6
    assert explained == pytest.approx((1.0, 0.0))


def test_pairs_are_nearest_neighbours_agreeing_ones_first():
    features = drawn(40)
    labels = torch.arange(40) % 3
    priorities = torch.rand(40, generator=torch.Generator().manual_seed(1))
    found = closer(features, labels, torch.arange(40) * PER_IMAGE, priorities)
    distances = torch.cdist(features.double(), features.double()).fill_diagonal_(torch.inf)
    kinds = [label == other for _, _, label, other, _ in found.pairs]
    assert kinds == sorted(kinds, reverse=True)
    assert True in kinds
    assert False in kinds
    for sample, neighbor, label, other, distance in found.pairs:
        row = sample // PER_IMAGE
        assert neighbor // PER_IMAGE == distances[row].argmin()
        assert distance == pytest.approx(float(distances[row].min()))
        assert (label, other) == (row % 3, neighbor // PER_IMAGE % 3)


def test_samples_are_the_same_in_every_layer_and_balanced():
    labels = torch.tensor([0] * 90 + [1] * 10)
    priorities = torch.rand(100, generator=torch.Generator().manual_seed(2))
    ids = torch.arange(100) * PER_IMAGE
    first, second = (
        closer(drawn(100, 4, seed), labels, ids, priorities, max_points=20) for seed in (0, 1)
    )
    assert first.ids.tolist() == second.ids.tolist()
    assert first.labels.bincount().tolist() == [10, 10]
    shown = priorities[first.ids // PER_IMAGE]
    assert shown.tolist() == sorted(shown.tolist())
    assert first.points.shape == (20, 2)


def test_pairs_are_those_that_the_measurement_admits():
    features = torch.tensor([[0.0], [0.1], [5.0], [5.2]])
    labels = torch.tensor([0, 1, 0, 1])
    ids = torch.tensor([0, 1, PER_IMAGE, PER_IMAGE + 1])
    priorities = torch.tensor([0.1, 0.2, 0.3, 0.4])

    def neighbors(groups):
        found = closer(features, labels, ids, priorities, groups)
        return {pair[0]: pair[1] for pair in found.pairs}

    # Each other's neighbours are one pair.
    assert neighbors(None) == {0: 1, PER_IMAGE: PER_IMAGE + 1}
    of_images = ids // PER_IMAGE
    assert neighbors(of_images) == {0: PER_IMAGE, 1: PER_IMAGE, PER_IMAGE + 1: 1}


def test_as_many_pairs_of_each_kind_are_taken():
    pairs = [(n, n + 1, 0, int(n % 3 == 0), 1.0) for n in range(9)]
    assert [pair[0] for pair in first_pairs(pairs, 2)] == [1, 2, 0, 3]


def test_many_layers_show_fewer_pairs_each():
    assert [pairs_per_layer(count) for count in (1, 50, 75, 200, 1000)] == [6, 6, 4, 2, 2]


def test_the_observer_keeps_evidence_of_the_last_measurement():
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    batches = [(drawn(10, 4, seed), torch.arange(10) % 2) for seed in range(3)]
    observer = EvidenceObserver()
    meter = SeparationMeter(max_samples=24, observers=[observer])
    for _ in range(2):
        profile = meter.measure(model, as_batches(batches), lambda net, inputs: net(inputs))
    evidence = observer.evidence()
    assert list(evidence.layers) == ['0', '2']
    assert len(evidence.places) == 24
    for name, one in evidence.layers.items():
        assert len(one.ids) == 24
        assert {number // PER_IMAGE for number in one.ids.tolist()} <= set(range(30))
        assert evidence.places[int(one.ids[0])].image == int(one.ids[0]) // PER_IMAGE
        assert 0 < len(one.pairs) <= 12
        if profile[name].index == 1:
            assert all(pair[2] == pair[3] for pair in one.pairs)
