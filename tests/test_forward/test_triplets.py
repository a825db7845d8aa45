import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.triplets import find_triplets, usable_samples
from mmlayerwise.separation import separation_index
from tests.test_forward.reference import brute_force_triplets


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), by_source=st.booleans())
def test_triplets_are_those_of_loops_over_pairs(seed, classes, by_source):
    generator = torch.Generator().manual_seed(seed)
    # Few whole numbers, so that some samples are equally near.
    features = torch.randint(0, 4, (40, 3), generator=generator).double()
    labels = torch.randint(classes, (40,), generator=generator)
    sources = torch.randint(12, (40,), generator=generator) if by_source else None
    rows = usable_samples(labels, sources)
    features, labels = features[rows], labels[rows]
    sources = None if sources is None else sources[rows]
    found = find_triplets(features, labels, sources)
    friends, enemies, index = brute_force_triplets(features, labels, sources)
    assert found.friends.tolist() == friends.tolist()
    assert found.enemies.tolist() == enemies.tolist()
    assert found.separation_index == pytest.approx(index)


def test_the_index_is_the_separation_index():
    torch.manual_seed(0)
    features, labels = torch.randn(200, 5), torch.arange(200) % 3
    features[:, 0] += labels
    found = find_triplets(features, labels)
    assert found.separation_index == pytest.approx(separation_index(features, labels))


def test_samples_without_a_friend_elsewhere_are_not_usable():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert usable_samples(labels).tolist() == [0, 1, 2, 3, 4]
    # Both samples of class 1 are of one image.
    sources = torch.tensor([0, 1, 2, 3, 3, 4])
    with pytest.raises(ForwardLearningError):
        usable_samples(labels, sources)
    sources = torch.tensor([0, 1, 2, 3, 0, 4])
    assert usable_samples(labels, sources).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('labels', [[3, 3, 3, 3], [0, 1, 2, 3], [0, 0, 1], [5]])
def test_labels_that_leave_no_triplet_are_named(labels):
    labels = torch.tensor(labels)
    classes = len(labels.unique())
    with pytest.raises(ForwardLearningError, match=rf'{len(labels)} samples of {classes} classes'):
        usable_samples(labels)


def test_samples_without_partners_are_refused():
    with pytest.raises(ForwardLearningError, match='no other sample'):
        find_triplets(torch.randn(3, 2), torch.tensor([0, 0, 1]))
