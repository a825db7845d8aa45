"""Channels that are taken apart, weighed by one number, read without gradient, or not shared."""

import copy

import pytest
import torch
from torch import Tensor, nn

from mmlayerwise.compression import CompressionPlan, SurgeryReport, apply_plan, fingerprint
from mmlayerwise.compression.channel_groups import find_groups
from mmlayerwise.compression.criteria import importance
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.exactness import largest_difference
from mmlayerwise.compression.flops import measure_cost
from mmlayerwise.models.layers import LocallyConnected2d, Reorg

SIZE = (12, 12)


def pruned(
    model: nn.Module, size: tuple[int, int] = SIZE, **channels: list[int]
) -> tuple[nn.Module, SurgeryReport, float]:
    """The smaller model, the report, and the difference to the original without the maps."""
    torch.manual_seed(0)
    original = model.double().eval()
    for parameter in original.parameters():
        nn.init.uniform_(parameter, -1, 1)
    smaller = copy.deepcopy(original)
    report = apply_plan(smaller, CompressionPlan(fingerprint(model), channels=channels), size)
    images = torch.randn(2, 3, *size).double()
    return smaller, report, largest_difference(original, smaller, report, images)


class Passthrough(nn.Module):
    """A fine map, taken apart and joined with a coarse one, as in YOLOv2."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 12, 1)
        self.coarse = nn.Conv2d(3, 5, 2, stride=2)
        self.last = nn.Conv2d(12 * 4 + 5, 2, 1)
        self.reorg = Reorg(2)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.reorg(self.fine(images).relu()).tanh()
        return self.last(torch.cat([fine, self.coarse(images)], 1))


# A half of a map has an odd number of rows for sides of 12, not for those of 8.
@pytest.mark.parametrize('size', [(12, 12), (8, 8)])
def test_channels_in_front_of_a_reorg_layer_go_in_blocks(size):
    model, report, difference = pruned(
        Passthrough(), size, fine=[0, 1, 2, 3, 5, 6, 7], coarse=[1, 4]
    )
    assert difference < 1e-12
    # One channel of the second block stays, so all four do; the third goes.
    assert report.groups[0].cuts['fine'].outputs == [0, 1, 2, 3, 4, 5, 6, 7]
    assert {'fine': [4]} in [group.restored for group in report.groups]
    assert model.coarse.out_channels == 2
    assert model.last.in_channels == 8 * 4 + 2
    assert not report.skipped


def test_the_planner_leaves_blocks_alone():
    model = Passthrough()
    groups, refused = find_groups(model, ChannelGraph(model, SIZE), {})
    assert [group.root for group in groups] == ['coarse']
    assert refused['fine'] == 'some of them can only go together'


class Unfollowed(nn.Module):
    """Two layers, one of which reads the other in an order of its own, joined with a third."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(num_inputs, 4, 1)
        self.free = nn.Conv2d(3, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.second(self.moved(self.first(images))), self.last(self.free(images))


class Shuffled(Unfollowed):
    """Channels of two groups in turn, as ShuffleNet has them."""

    def __init__(self) -> None:
        super().__init__(8)

    def moved(self, features):
        groups = features.unflatten(1, (2, 4))
        return groups.transpose(1, 2).flatten(1, 2)


class SpaceToDepth(Unfollowed):
    """PyTorch's own."""

    def __init__(self) -> None:
        super().__init__(32)

    def moved(self, features):
        return nn.functional.pixel_unshuffle(features, 2)


class JoinedPositions(Unfollowed):
    """A map of positions, which no layer made, in front of the channels."""

    def __init__(self) -> None:
        super().__init__(9)

    def moved(self, features):
        positions = torch.linspace(0, 1, features.shape[-1]).to(features)
        return torch.cat([positions.expand_as(features[:, :1]), features], 1)


@pytest.mark.parametrize('kind', [Shuffled, SpaceToDepth, JoinedPositions])
def test_channels_whose_order_is_unknown_stay_and_the_rest_goes(kind):
    model, report, difference = pruned(kind(), first=[0, 1, 2, 5], free=[1, 2])
    assert difference < 1e-12
    assert list(report.skipped) == ['first']
    assert 'in an order that cannot be followed' in report.skipped['first']
    assert (model.first.out_channels, model.free.out_channels) == (8, 2)


class Weighed(nn.Module):
    """A sum of maps, each with a weight of its own, as in EfficientDet."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.second = nn.Conv2d(3, 6, 1)
        self.weights = nn.Parameter(torch.rand(2))
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images), self.second(images)
        weights = self.weights / self.weights.sum()
        return self.last(sum(weight * one for weight, one in zip(weights, maps, strict=True)))


def test_numbers_that_weigh_whole_maps_stay():
    kept = [0, 1, 5]
    model, report, difference = pruned(Weighed(), first=kept, second=kept)
    assert difference < 1e-12
    assert not report.skipped
    assert model.weights.shape == (2,)
    assert model.last.in_channels == 3


class Detached(nn.Module):
    """A branch that does not train what it reads, as that of YOLOX without suppression."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)
        self.selector = nn.Conv2d(6, 1, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.first(images).relu()
        return self.last(features), self.selector(features.detach())


def test_a_branch_without_gradient_loses_the_channels_too():
    model, report, difference = pruned(Detached(), first=[2, 3])
    assert difference < 1e-12
    assert not report.skipped
    assert model.selector.in_channels == 2


class Local(nn.Module):
    """A layer with weights of its own at every place, as in the later YOLOv1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.local = LocallyConnected2d(6, 4, SIZE)
        self.fc = nn.Linear(4 * 144, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.local(self.first(images).relu()).relu().flatten(1))


def test_a_layer_that_shares_no_weights_loses_inputs_and_outputs():
    model, report, difference = pruned(Local(), first=[1, 4, 5], local=[0, 3])
    assert difference < 1e-12
    assert not report.skipped
    assert model.local.weight.shape == (144, 2, 3 * 9)
    assert model.local.bias.shape == (2, *SIZE)
    assert (model.local.in_channels, model.local.out_channels) == (3, 2)
    assert model.fc.in_features == 2 * 144


def test_a_layer_that_shares_no_weights_is_counted_and_weighed():
    model = Local()
    places, weights = 144, 4 * 6 * 9
    assert measure_cost(model, SIZE).flops == places * (6 * 3 + weights) + 4 * 144 * 3
    groups, refused = find_groups(model, ChannelGraph(model, SIZE), {})
    assert [group.root for group in groups] == ['first', 'local']
    assert refused == {'fc': 'they are outputs of the model'}
    expected = model.local.weight.double().abs().sum((0, 2))
    torch.testing.assert_close(importance('magnitude', model, groups[1]), expected)
