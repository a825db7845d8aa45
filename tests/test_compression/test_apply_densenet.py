"""A DenseNet cut inside a dense block and thinned there: what stays is concatenated later."""

import copy

import pytest
import torch
from torch import nn

from mmlayerwise.compression import CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.exactness import largest_difference
from mmlayerwise.compression.outputs import every_output
from tests.test_compression.architectures import model_config, shaken
from tests.zoo.configs import build

SIZE = (16, 16)
CUT = 'backbone.stages.1.layer1'
KEPT = {
    'backbone.stem': [0, 2, 3],
    'backbone.stages.0.layer2.conv': [1],
    'backbone.stages.1.transition.conv': [0, 1, 4, 7, 9, 12, 15],
    'backbone.stages.1.layer0.conv': [0, 3],
    'backbone.stages.1.layer1.conv': [2],
}
# The head's own linear layer behind global pooling, and new ones of each kind.
HEADS = {
    'own': None,
    'pooled': dict(hidden=[], dropout=0.0, pool=2),
    'flattened': dict(hidden=[6], dropout=0.0, pool=None),
}


def densenet() -> nn.Module:
    config, scope = model_config('densenet40')
    config.backbone.update(depth=13, growth_rate=4, stem_channels=8)
    config.head.in_channels = 44
    return shaken(build(config, scope)).double()


@pytest.mark.parametrize('head', HEADS)
def test_thinned_in_the_stage_of_the_cut_it_computes_what_the_cut_one_does(head):
    original = densenet()
    apply_plan(original, CompressionPlan(fingerprint(original), cut=CUT, head=HEADS[head]), SIZE)
    shaken(original, seed=1)
    smaller = copy.deepcopy(original)

    report = apply_plan(smaller, CompressionPlan(fingerprint(original), channels=KEPT), SIZE)

    assert report.skipped == {}
    assert sum(len(group.asked) for group in report.groups) == len(KEPT)
    for name, kept in KEPT.items():
        assert smaller.get_submodule(name).out_channels == len(kept)
    maps = len(KEPT['backbone.stages.1.transition.conv']) + 2 + 1
    linear = next(part for part in smaller.head.modules() if isinstance(part, nn.Linear))
    assert linear.in_features == maps * {'own': 1, 'pooled': 4, 'flattened': 64}[head]

    images = torch.randn(2, 3, *SIZE, dtype=torch.float64)
    assert largest_difference(original, smaller, report, images) < 1e-9
    with torch.no_grad():
        (whole,), (part,) = every_output(original, images), every_output(smaller, images)
    assert (whole - part).abs().max() > 1e-3  # the removed maps did matter


@pytest.mark.parametrize('head', HEADS)
def test_cut_and_thinned_at_once_it_is_the_same_network(head):
    at_once, in_turn = densenet(), densenet()
    report = apply_plan(
        at_once, CompressionPlan(fingerprint(at_once), CUT, KEPT, HEADS[head]), SIZE
    )
    apply_plan(in_turn, CompressionPlan(fingerprint(in_turn), CUT, head=HEADS[head]), SIZE)
    apply_plan(in_turn, CompressionPlan(fingerprint(in_turn), channels=KEPT), SIZE)

    assert report.skipped == {}
    first, second = at_once.state_dict(), in_turn.state_dict()
    assert {name: value.shape for name, value in first.items()} == {
        name: value.shape for name, value in second.items()
    }
    assert all(torch.equal(first[name], second[name]) for name in first if 'backbone' in name)
