import random

import numpy as np
import pytest
import torch
from torch import nn

from mmlayerwise.separation import SeparationError, Tap, Taps, undisturbed
from tests.test_separation.test_layers import Detector


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_are_bit_identical_and_hooks_are_removed():
    model, images = Detector(), torch.randn(2, 3, 16, 16)
    model.eval()
    plain = model(images)
    read = {}
    taps = [Tap('a', 'backbone', 0, 1), Tap('b', 'head.tower', 1), Tap('c', 'backbone.stem')]
    with Taps(model, taps, lambda tap, output: read.update({tap.name: output.clone()})) as tapped:
        measured = tapped.run(lambda: model(images))
        assert hooks(model) == 3
    assert hooks(model) == 0
    assert all(torch.equal(a, b) for a, b in zip(plain, measured, strict=True))
    assert torch.equal(read['a'], model.backbone(images)[1])
    assert torch.equal(read['b'], model.head.tower(read['a']))


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_hooks_are_removed_when_something_fails(error):
    model = Detector()

    def fail(tap, output):
        raise error

    with pytest.raises(error), Taps(model, [Tap('a', 'backbone.stem')], fail) as taps:
        taps.run(lambda: model(torch.randn(1, 3, 16, 16)))
    assert hooks(model) == 0


def test_the_forward_pass_ends_when_everything_was_read():
    model = Detector()
    ran = []
    model.head.register_forward_hook(lambda *_: ran.append(1))
    taps = [Tap('a', 'backbone.layer1')]
    with Taps(model, taps, lambda *_: None, stop_early=True) as tapped:
        assert tapped.run(lambda: model(torch.randn(1, 3, 16, 16))) is None
        tapped.run(lambda: model(torch.randn(1, 3, 16, 16)))
    assert not ran


def test_unreached_and_unknown_taps_and_outputs_without_tensor_are_named():
    model, images = Detector(), torch.randn(1, 3, 16, 16)
    cases = [
        (Tap('head#9', 'head', 9), 'did not reach head#9'),
        (Tap('x', 'nowhere'), 'no module named nowhere'),
        (Tap('backbone', 'backbone'), r'tuple, not a tensor. Choose one of backbone\[0\]'),
    ]
    for tap, message in cases:
        with (
            pytest.raises(SeparationError, match=message),
            Taps(model, [tap], lambda *_: None) as taps,
        ):
            taps.run(lambda: model(images))
        assert hooks(model) == 0


def test_undisturbed_restores_modes_and_random_states():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout())
    model.train()
    model[1].eval()  # frozen by hand
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    inside = []
    with undisturbed(model, seed=3):
        assert not model.training
        assert not torch.is_grad_enabled()
        inside.append(draw())
        model(torch.randn(2, 3, 4, 4))
    with pytest.raises(ValueError, match='stop'), undisturbed(model, seed=3):
        inside.append(draw())
        raise ValueError('stop')
    assert inside[0] == inside[1]
    assert draw() == expected
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
