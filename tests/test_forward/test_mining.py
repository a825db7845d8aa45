import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.mining import NearestTripletMiner
from mmlayerwise.separation import separation_index


def points(count, dimension=5, seed=0, classes=3):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    return features, torch.randint(0, classes, (count,), generator=generator)


def by_loops(features, labels, images=None):
    """Anchor, friend and enemy rows, found one by one."""
    found = []
    for i in range(len(features)):
        best = {True: (float('inf'), None), False: (float('inf'), None)}
        for j in range(len(features)):
            if i == j or (images is not None and images[i] == images[j]):
                continue
            distance = float((features[i] - features[j]).norm())
            kind = bool(labels[i] == labels[j])
            if distance < best[kind][0]:
                best[kind] = distance, j
        if best[True][1] is not None and best[False][1] is not None:
            found.append((i, best[True][1], best[False][1]))
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 25), st.integers(0, 10**6), st.booleans())
def test_the_nearest_friend_and_enemy_of_every_sample_are_found(count, seed, grouped):
    features, labels = points(count, seed=seed)
    images = torch.arange(count) // 3 if grouped else None
    triplets = NearestTripletMiner()(features, labels, images)
    expected = by_loops(features, labels, images)
    assert len(triplets) == len(expected)
    for place, column in enumerate(('anchors', 'friends', 'enemies')):
        rows = torch.tensor([row[place] for row in expected], dtype=torch.int64)
        assert torch.equal(getattr(triplets, column), features[rows])


def test_pytorch_metric_learning_finds_the_same():
    miners = pytest.importorskip('pytorch_metric_learning.miners')
    distances = pytest.importorskip('pytorch_metric_learning.distances')
    features, labels = points(60, classes=4)
    reference = miners.BatchEasyHardMiner(
        pos_strategy='easy',
        neg_strategy='hard',
        distance=distances.LpDistance(normalize_embeddings=False),
    )
    anchors, friends, _, enemies = reference(features, labels)
    triplets = NearestTripletMiner()(features, labels)
    assert torch.equal(triplets.anchors, features[anchors])
    assert torch.equal(triplets.friends, features[friends])
    assert torch.equal(triplets.enemies, features[enemies])


def test_the_share_of_separated_anchors_is_the_separation_index():
    features, labels = points(80)
    triplets = NearestTripletMiner()(features, labels)
    assert triplets.separation_index == pytest.approx(separation_index(features, labels))


def test_gradients_reach_anchor_friend_and_enemy():
    features = torch.tensor([[0.0], [1.0], [3.0]], requires_grad=True)
    triplets = NearestTripletMiner()(features, torch.tensor([0, 0, 1]))
    assert len(triplets) == 2  # the third sample has no friend
    ((triplets.anchors - triplets.friends) - (triplets.anchors - triplets.enemies)).sum().backward()
    # Twice + enemy, minus the friends 1 and 0.
    assert features.grad.tolist() == [[-1.0], [-1.0], [2.0]]


@pytest.mark.parametrize('labels', [[0, 1, 2], [4, 4, 4], [5], []])
def test_a_batch_without_a_pair_gives_no_triplets(labels):
    features = torch.randn(len(labels), 2, requires_grad=True)
    triplets = NearestTripletMiner()(features, torch.tensor(labels, dtype=torch.int64))
    assert len(triplets) == 0
    assert triplets.separation_index == 0
    triplets.anchors.sum().backward()
    assert not features.grad.any()


def test_remembered_samples_are_searched_and_give_no_gradient():
    miner = NearestTripletMiner(memory_size=2)
    first = torch.tensor([[5.0], [1.0], [9.0]], requires_grad=True)
    assert len(miner(first, torch.tensor([7, 0, 1]))) == 0
    second = torch.tensor([[0.0]], requires_grad=True)
    triplets = miner(second, torch.tensor([0]))
    # The two newest are kept in the order of their batch; 9.0 is forgotten.
    assert triplets.friends.item() == 1
    assert triplets.enemies.item() == 5
    (triplets.anchors - triplets.friends).sum().backward()
    assert second.grad.item() == 1
    assert first.grad is None
    miner.reset()
    assert len(miner(second, torch.tensor([0]))) == 0


def test_samples_of_another_dimension_are_not_compared_with_remembered_ones():
    miner = NearestTripletMiner(memory_size=8)
    miner(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]))
    assert len(miner(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]))) == 4


def test_a_negative_memory_is_refused():
    with pytest.raises(ForwardLearningError, match='must not be negative, got -1'):
        NearestTripletMiner(-1)


def test_the_distance_of_neighbours_is_relative_to_the_length_of_the_features():
    features = torch.tensor([[3.0, 0], [4.0, 0], [0, 1.0], [0, 3.0]])
    labels = torch.tensor([0, 0, 1, 1])
    found = NearestTripletMiner()(features, labels)
    # Friends are 1, 1, 4 and 4 apart; enemies 10, 17, 10 and 18.
    assert found.relative_distance == pytest.approx((10 / 8 + 55 / 8) / (35 / 4))
    scaled = NearestTripletMiner()(100 * features, labels)
    assert scaled.relative_distance == pytest.approx(found.relative_distance)
    alike = NearestTripletMiner()(torch.ones(4, 2), labels)
    assert alike.relative_distance == 0
    assert NearestTripletMiner()(torch.zeros(4, 2), labels).relative_distance == 0
    assert NearestTripletMiner()(features, torch.arange(4)).relative_distance == 0
