"""What goes together, on networks small enough to be checked by hand."""

import copy

import pytest
import torch
from torch import Tensor, nn

from mmlayerwise.compression import CompressionPlan, SurgeryReport, apply_plan, fingerprint
from mmlayerwise.compression.exactness import largest_difference

SIZE = (8, 8)


def convolution(before: int, after: int, **options) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, **options)


class Residual(nn.Module):
    """Two layers whose outputs are added, and a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(3, 6)
        self.second = convolution(6, 6)
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images).relu()
        return self.last(first + self.second(first))


class Gated(nn.Module):
    """One map that weighs all channels, as spatial attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.values = convolution(3, 6)
        self.gate = convolution(3, 1)
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.values(images) * self.gate(images).sigmoid())


class Folded(nn.Module):
    """Channels that are mixed with positions in a way that no graph follows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(3, 8)
        self.free = convolution(3, 4)
        self.last = nn.Conv2d(2, 2, 1)
        self.other = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        folded = torch.pixel_shuffle(self.first(images), 2)
        return self.last(folded), self.other(self.free(images))


class Scaled(nn.Module):
    """A bare parameter with one value a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(3, 6)
        self.scale = nn.Parameter(torch.rand(1, 6, 1, 1))
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images) * self.scale)


class ChannelsLast(nn.Module):
    """Layer normalisation and a linear layer over the last dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(3, 6)
        self.norm = nn.LayerNorm(6)
        self.linear = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.norm(self.first(images).permute(0, 2, 3, 1)))


def prune(model: nn.Module, **channels: list[int]) -> tuple[nn.Module, SurgeryReport, float]:
    """The smaller model, the report, and the difference to the original without the maps."""
    torch.manual_seed(0)
    original = model.double().eval()
    for parameter in original.parameters():
        nn.init.uniform_(parameter, -1, 1)
    smaller = copy.deepcopy(original)
    names = {name.replace('_', '.'): kept for name, kept in channels.items()}
    report = apply_plan(smaller, CompressionPlan(fingerprint(model), channels=names), SIZE)
    images = torch.randn(2, 3, *SIZE).double()
    return smaller, report, largest_difference(original, smaller, report, images)


def test_layers_of_a_sum_lose_the_same_channels():
    model, report, difference = prune(Residual(), first=[1, 2, 5])
    assert difference < 1e-12
    (group,) = report.groups
    assert group.asked == ['first']
    assert group.cuts['second'].outputs == group.cuts['second'].inputs == [1, 2, 5]
    assert group.cuts['last'].inputs == [1, 2, 5]
    assert model.second.weight.shape == (3, 3, 3, 3)
    assert report.before.parameters - report.after.parameters == (
        3 * (27 + 1) + (36 - 9) * 9 + 3 + 3 * 2
    )


def test_a_channel_stays_if_a_coupled_layer_keeps_it():
    model, report, difference = prune(Residual(), first=[1, 2, 5], second=[0, 1])
    assert difference < 1e-12
    assert report.groups[0].cuts['last'].inputs == [0, 1, 2, 5]
    assert report.groups[0].restored == {'first': [0], 'second': [2, 5]}
    assert 'had to stay' in report.summary()
    assert model.first.out_channels == 4


def test_layers_that_agree_on_nothing_stay_as_they_are():
    _, report, _ = prune(Residual(), first=[0, 1, 2], second=[3, 4, 5])
    assert report.groups == []
    assert all('coupled layer keeps them' in reason for reason in report.skipped.values())
    assert report.after == report.before


def test_one_map_that_is_spread_over_all_channels_stays():
    model, report, difference = prune(Gated(), values=[0, 4])
    assert difference < 1e-12
    assert set(report.groups[0].cuts) == {'values', 'last'}
    assert model.gate.out_channels == 1


def test_what_cannot_be_followed_is_named_and_the_rest_is_pruned():
    _, report, difference = prune(Folded(), first=[0, 1, 2, 3], free=[1, 2])
    assert difference < 1e-12
    assert list(report.skipped) == ['first']
    assert 'rearranged in an order that cannot be followed' in report.skipped['first']
    assert 'not pruned: first' in report.summary()
    assert report.groups[0].asked == ['free']


def test_a_bare_parameter_follows():
    model, report, difference = prune(Scaled(), first=[0, 3])
    assert difference < 1e-12
    assert model.scale.shape == (1, 2, 1, 1)
    assert report.slices['scale'].kept == {1: [0, 3]}


def test_layer_normalisation_counts_what_stays():
    model, _, difference = prune(ChannelsLast(), first=[0, 2, 3, 5])
    assert difference < 1e-12
    assert model.norm.normalized_shape == (4,)


@pytest.mark.parametrize(
    ('kept', 'stays', 'groups'),
    [
        ([0, 2, 5, 7, 8, 11], [0, 2, 5, 7, 8, 11], 3),  # two of each group of four
        ([0, 1, 2, 3, 8, 9, 10, 11], [0, 1, 2, 3, 8, 9, 10, 11], 2),  # a whole group goes
        ([3, 7, 8, 9], [0, 3, 4, 7, 8, 9], 3),  # made even
    ],
)
def test_groups_of_a_normalisation_stay_equal(kept, stays, groups):
    network = nn.Sequential(convolution(3, 12), nn.GroupNorm(3, 12), nn.ReLU(), convolution(12, 2))
    model, report, difference = prune(network, **{'0': kept})
    assert difference < 1e-12
    assert model[1].num_groups == groups
    assert report.groups[0].cuts['1'].outputs == stays


@pytest.mark.parametrize('transposed', [False, True])
def test_groups_of_a_convolution_keep_channels_of_their_own(transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    grouped = kind(8, 12, 3, padding=1, groups=2)
    network = nn.Sequential(convolution(3, 8), nn.ReLU(), grouped, convolution(12, 2))
    # Other positions in each group, of the inputs and of the outputs.
    model, _, difference = prune(network, **{'0': [0, 3, 5, 6], '2': [1, 2, 5, 6, 8, 9]})
    assert difference < 1e-12
    assert model[2].weight.shape == ((4, 3, 3, 3) if transposed else (6, 2, 3, 3))
    assert model[2].groups == 2


def test_a_depthwise_convolution_follows_what_it_reads():
    network = nn.Sequential(
        convolution(3, 6), convolution(6, 6, groups=6), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)
    )
    model, _, difference = prune(network, **{'0': [1, 4]})
    assert difference < 1e-12
    assert (model[1].groups, model[1].in_channels, model[1].out_channels) == (2, 2, 2)
    assert model[2].running_mean.shape == (2,)


def test_a_flattened_map_takes_all_its_positions_along():
    network = nn.Sequential(convolution(3, 4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 2))
    model, report, difference = prune(network, **{'0': [1, 3]})
    assert difference < 1e-12
    assert report.groups[0].cuts['3'].inputs == [*range(16, 32), *range(48, 64)]
    assert model[3].in_features == 32


def test_what_is_frozen_stays_frozen():
    network = Residual()
    network.second.requires_grad_(False)
    model, *_ = prune(network, first=[0, 1])
    assert not model.second.weight.requires_grad
    assert model.first.weight.requires_grad


def test_slices_fit_the_state_of_an_optimizer():
    model = Residual()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(1, 3, *SIZE)).sum().backward()
    optimizer.step()
    old = dict(model.named_parameters())
    plan = CompressionPlan(fingerprint(model), channels={'first': [0, 4]})
    report = apply_plan(model, plan, SIZE)
    for name, parameter in model.named_parameters():
        momentum = optimizer.state[old[name]]['momentum_buffer']
        if name in report.slices:
            momentum = report.slices[name](momentum)
        assert momentum.shape == parameter.shape
    momentum = optimizer.state[old['second.weight']]['momentum_buffer']
    assert torch.equal(report.slices['second.weight'](momentum), momentum[[0, 4]][:, [0, 4]])
