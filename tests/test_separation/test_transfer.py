from math import sqrt

import numpy as np
import pytest
import torch

from mmlayerwise.separation import SeparationError
from mmlayerwise.separation.transfer import BackboneSeparation, Hits, rank_backbones


def hits(friends, ids=None):
    friends = torch.tensor(friends, dtype=torch.bool)
    return Hits(torch.arange(len(friends)) if ids is None else torch.tensor(ids), friends)


def backbone(name, friends, cross=None, chance=0.1):
    cross = None if cross is None else hits(cross)
    return BackboneSeparation(name, 'backbone', 8, chance, hits(friends), cross)


def friends_of(share, count=200, seed=0):
    order = np.random.default_rng(seed).permutation(count)
    return (order < share * count).tolist()


def test_the_best_comes_first_and_those_far_behind_are_rejected():
    networks = [backbone(str(share), friends_of(share)) for share in (0.3, 0.9, 0.45, 0.6)]
    ranking, threshold = rank_backbones(networks)
    assert [one.measured.name for one in ranking] == ['0.9', '0.6', '0.45', '0.3']
    assert threshold == pytest.approx(0.5 * (0.9 + 0.1))
    assert [one.rejected for one in ranking] == [False, False, True, True]
    assert ranking[-1].lead is None


def test_the_lead_is_the_paired_difference_on_the_same_samples():
    better, worse = friends_of(0.8, seed=1), friends_of(0.7, seed=2)
    (first, _), _ = rank_backbones([backbone('b', worse), backbone('a', better)])
    difference = np.array(better, float) - np.array(worse, float)
    assert first.lead.gain == pytest.approx(difference.mean())
    assert first.lead.standard_error == pytest.approx(difference.std(ddof=1) / sqrt(200))
    assert first.leads == (difference.mean() > 1.64 * difference.std(ddof=1) / sqrt(200))


def test_pairing_finds_what_two_intervals_hide():
    # One network is right wherever the other is, and on 6 of 200 samples more.
    worse = friends_of(0.7)
    better = list(worse)
    for place in [place for place, friend in enumerate(worse) if not friend][:6]:
        better[place] = True
    (first, second), _ = rank_backbones([backbone('a', better), backbone('b', worse)])
    assert first.measured.hits.interval[0] < second.measured.hits.index
    assert first.leads


def test_only_samples_that_both_have_are_compared():
    one = BackboneSeparation('a', 'x', 8, 0.5, hits([1, 1, 1, 0], [0, 1, 5, 7]))
    other = BackboneSeparation('b', 'x', 8, 0.5, hits([1, 0, 1, 0], [1, 5, 7, 9]))
    (first, _), _ = rank_backbones([one, other])
    assert first.lead.num_samples == 3
    assert first.lead.gain == pytest.approx((0 + 1 - 1) / 3)


def test_the_cross_index_ranks_where_it_is_asked_for():
    networks = [
        backbone('a', friends_of(0.9), friends_of(0.5)),
        backbone('b', friends_of(0.6), friends_of(0.7)),
    ]
    assert rank_backbones(networks, 'cross')[0][0].measured.name == 'b'
    assert rank_backbones(networks)[0][0].measured.name == 'a'
    with pytest.raises(SeparationError, match='training data'):
        rank_backbones([*networks, backbone('c', friends_of(0.5))], 'cross')
    with pytest.raises(SeparationError, match='no network'):
        rank_backbones([])
