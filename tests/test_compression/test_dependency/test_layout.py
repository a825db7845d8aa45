"""Channels that are concatenated or flattened in other dimensions than the second."""

import copy

import pytest
import torch
from torch import Tensor, nn

from mmlayerwise.compression import CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.report import SurgeryReport

KEPT = [1, 3]


class TwoLayers(nn.Module):
    """Two layers of four channels side by side, and one that reads what is made of both.

    Args:
        layer: Makes each of them.
        num_inputs: Of the reader.
    """

    def __init__(self, layer, num_inputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = layer(), layer()
        self.reader = nn.Linear(num_inputs, 5)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.reader(self.joined(self.left, self.right, images))


class Maps(TwoLayers):
    """Maps behind each other in the channels, flattened: (N, 8, 4, 4)."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Conv2d(3, 4, 1), 8 * 16)

    def joined(self, left, right, images):
        return torch.cat([left(images).relu(), right(images).relu()], 1).flatten(1)


class Sequences(TwoLayers):
    """Likewise in one dimension: (N, 8, 16)."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Conv1d(3, 4, 1), 8 * 16)

    def joined(self, left, right, images):
        pixels = images.flatten(2)
        return torch.cat([left(pixels).relu(), right(pixels).relu()], 1).flatten(1)


class Tokens(TwoLayers):
    """Tokens behind each other, averaged: (N, 32, 4), the channels last."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Linear(3, 4), 4)

    def joined(self, left, right, images):
        pixels = images.flatten(2).transpose(1, 2)
        return torch.cat([left(pixels).relu(), right(pixels).relu()], 1).mean(1)


class FlattenedTokens(TwoLayers):
    """As many tokens as channels, so that their numbers don't tell them apart: (N, 8, 4)."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Linear(3, 4), 8 * 4)

    def joined(self, left, right, images):
        pixels = images[:, :, 0].transpose(1, 2)
        return torch.cat([left(pixels).relu(), right(pixels).relu()], 1).flatten(1)


class TokensOfMaps(TwoLayers):
    """Likewise where convolutions make the tokens: (N, 32, 4)."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Conv2d(3, 4, 1), 32 * 4)

    def joined(self, left, right, images):
        both = [layer(images).flatten(2).transpose(1, 2) for layer in (left, right)]
        return torch.cat(both, 1).flatten(1)


class Rows(TwoLayers):
    """Maps with the channels last, one below the other: (N, 8, 4, 4)."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Conv2d(3, 4, 1), 8 * 4 * 4)

    def joined(self, left, right, images):
        return torch.cat([layer(images).permute(0, 2, 3, 1) for layer in (left, right)], 1).flatten(
            1
        )


class ChannelsLast(TwoLayers):
    """A sum whose channels are moved behind before it is flattened."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Conv2d(3, 4, 1), 64)

    def joined(self, left, right, images):
        return (left(images) + right(images)).permute(0, 2, 3, 1).flatten(1)


def thinned(model: nn.Module) -> tuple[nn.Module, SurgeryReport]:
    """A copy whose two layers keep some channels each."""
    smaller = copy.deepcopy(model)
    channels = {'left': KEPT, 'right': KEPT}
    return smaller, apply_plan(
        smaller, CompressionPlan(fingerprint(model), channels=channels), (4, 4)
    )


@pytest.mark.parametrize(('kind', 'num_inputs'), [(Maps, 4 * 16), (Sequences, 4 * 16), (Tokens, 2)])
def test_removed_channels_carried_nothing(kind, num_inputs):
    original = kind()
    smaller, report = thinned(original)
    assert not report.skipped
    assert smaller.reader.in_features == num_inputs

    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    before = original(images)
    gone = [channel for channel in range(4) if channel not in KEPT]
    with torch.no_grad():
        for layer in (original.left, original.right):
            layer.weight[gone], layer.bias[gone] = 0, 0
    torch.testing.assert_close(smaller(images), original(images))
    assert not torch.allclose(before, original(images))


@pytest.mark.parametrize('kind', [FlattenedTokens, TokensOfMaps, Rows, ChannelsLast])
def test_channels_that_lie_elsewhere_stay_when_they_are_flattened(kind):
    original = kind()
    smaller, report = thinned(original)
    assert set(report.skipped) == {'left', 'right'}
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(smaller(images), original(images))


def test_says_that_the_order_cannot_be_followed():
    _, report = thinned(ChannelsLast())
    expected = 'they are flattened in an order that cannot be followed'
    assert report.skipped == {'left': expected, 'right': expected}
