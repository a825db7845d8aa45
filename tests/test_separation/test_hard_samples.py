from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation import SeparationError, measure
from mmlayerwise.separation.hard_samples import rank_samples, score_samples
from tests.test_separation.reference import brute_force


def points(count, seed, dimension=3):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(1, 7), st.integers(2, 4), st.integers(0, 10_000))
def test_scores_are_those_of_the_definitions(count, order, classes, seed):
    features = points(count, seed)
    labels = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed + 1))
    scores = score_samples(measure(features, labels, order=order))
    distances, neighbors = brute_force(features, order)
    for row in range(count):
        own = int(labels[row])
        seen = labels[neighbors[row]].tolist()
        friendly = [label == own for label in seen]
        assert float(scores.soft[row]) == pytest.approx(np.mean(friendly))
        assert bool(scores.anti[row]) == (not any(friendly))
        run = 0
        while run < order and friendly[run] == friendly[0]:
            run += 1
        assert int(scores.data_score[row]) == (run if friendly[0] else -run)
        votes = Counter(label for label in seen if label != own)
        # Counter keeps the order of first occurrence, which is that of the distance.
        best, number = max(votes.items(), key=lambda item: item[1]) if votes else (own, 0)
        assert int(scores.suggested[row]) == best
        expected = number / order - np.mean(friendly)
        assert float(scores.suspicion[row]) == pytest.approx(expected)
        assert float(scores.distance[row]) == pytest.approx(distances[row, 0])


def test_means_over_the_samples_are_the_indices():
    found = measure(points(60, 0), torch.arange(60) % 3, order=4)
    scores = score_samples(found)
    assert float(scores.soft.mean()) == pytest.approx(found.soft())
    assert float(scores.anti.double().mean()) == pytest.approx(found.anti())
    assert float((scores.data_score > 0).double().mean()) == pytest.approx(found.index)
    assert float((scores.data_score == 4).double().mean()) == pytest.approx(found.high_order())
    assert float((scores.data_score == -4).double().mean()) == pytest.approx(found.anti())


def test_planted_wrong_labels_rank_first():
    features = points(300, 1)
    truth = torch.arange(300) % 3
    features[:, 0] += 6 * truth
    labels = truth.clone()
    planted = torch.arange(0, 300, 20)
    labels[planted] = (labels[planted] + 1) % 3
    found = score_samples(measure(features, labels, order=10))
    order = rank_samples(found)
    assert set(order[: len(planted)].tolist()) == set(planted.tolist())
    assert torch.equal(found.suggested[planted], truth[planted])


def test_a_sample_between_two_classes_is_hard_but_not_suspicious():
    # One sample in a crowd of three classes, one in the midst of another class.
    generator = torch.Generator().manual_seed(0)
    crowd = torch.randn(9, 2, generator=generator)
    other = torch.randn(9, 2, generator=generator) + 50
    features = torch.cat([torch.zeros(1, 2), crowd, torch.full((1, 2), 50.0), other])
    labels = torch.tensor([0, *[1, 2, 3] * 3, 0, *[1] * 9])
    scores = score_samples(measure(features, labels, order=9))
    assert (scores.soft[0], scores.soft[10]) == (0, 0)
    assert float(scores.suspicion[0]) == pytest.approx(1 / 3)
    assert float(scores.suspicion[10]) == 1
    assert rank_samples(scores)[0] == 10


def test_rankings_differ_and_equals_go_by_data_score_then_distance():
    # One-dimensional, so that neighbours are read off.
    features = torch.tensor([[0.0], [1.0], [2.1], [10.0], [10.1], [20.0], [20.4]])
    labels = torch.tensor([0, 1, 0, 0, 0, 1, 0])
    scores = score_samples(measure(features, labels, order=1))
    # Three disagreeing pairs, the nearest first.
    assert rank_samples(scores, 'data_score').tolist()[:2] == [5, 6]
    assert rank_samples(scores, 'soft').tolist()[-2:] == [3, 4]
    with pytest.raises(SeparationError, match='mislabelled, soft, data_score'):
        rank_samples(scores, 'anti')
