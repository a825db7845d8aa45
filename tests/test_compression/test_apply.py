"""Surgery on every architecture of the list, and what it refuses."""

import copy

import pytest
import torch
from torch import nn

from mmlayerwise.compression import CompressionError, CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.dependency.slicing import is_depthwise
from mmlayerwise.compression.exactness import largest_difference
from mmlayerwise.compression.outputs import every_output
from mmlayerwise.utils.meta_device import meta_device
from tests.test_compression.architectures import ARCHITECTURES, model_config, shaken
from tests.zoo.configs import build


def half_of(width: int) -> list[int]:
    """Half of the channels, scattered; the same ones for layers of the same width."""
    generator = torch.Generator().manual_seed(width)
    return sorted(torch.randperm(width, generator=generator)[: max(1, width // 2)].tolist())


def halving_plan(model: nn.Module, example: tuple[int, int]) -> CompressionPlan:
    graph = ChannelGraph(model, example)
    modules = dict(model.named_modules())
    # Depthwise convolutions follow what they read.
    names = [name for name in graph.layers() if not is_depthwise(modules[name])]
    channels = {name: half_of(graph.width((name, 'out'))) for name in names}
    return CompressionPlan(fingerprint(model), channels=channels)


class FlattenedConcatenation(nn.Module):
    """Two levels of concatenation, as in a dense block, and a layer that reads whole maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.grown = nn.Conv2d(4, 6, 3, padding=1)
        self.last = nn.Conv2d(10, 5, 1)
        self.fc = nn.Linear(15 * 16, 7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.stem(images).relu()
        for layer in (self.grown, self.last):
            features = torch.cat([features, layer(features).relu()], 1)
        return self.fc(features.flatten(1))


def test_channels_of_a_concatenation_that_is_flattened_go():
    torch.manual_seed(0)
    original = FlattenedConcatenation().double()
    kept = {'stem': [0, 2], 'grown': [1, 3, 4], 'last': [4]}
    smaller = copy.deepcopy(original)
    report = apply_plan(smaller, CompressionPlan(fingerprint(original), channels=kept), (4, 4))
    assert not report.skipped
    assert smaller.fc.in_features == 6 * 16

    with torch.no_grad():
        for name, channels in kept.items():
            layer = original.get_submodule(name)
            gone = [one for one in range(layer.out_channels) if one not in channels]
            layer.weight[gone], layer.bias[gone] = 0, 0
        images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
        torch.testing.assert_close(smaller(images), original(images))


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_computes_what_the_original_computes_without_the_removed_maps(name):
    row = ARCHITECTURES[name]
    size = (row.side, row.side)
    original = shaken(build(*model_config(name)))
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    if not row.large:
        original, images = original.double(), images.double()
    smaller = copy.deepcopy(original)
    plan = halving_plan(original, size)

    report = apply_plan(smaller, plan, size)

    # Only what the model gives to the outside cannot be pruned.
    assert set(report.skipped.values()) == {'they are outputs of the model'}
    assert report.untraced == []
    assert largest_difference(original, smaller, report, images) < (1e-4 if row.large else 1e-9)
    # The removed maps did matter.
    with torch.no_grad():
        whole, part = every_output(original, images), every_output(smaller, images)
    assert any((one - other).abs().max() > 1e-3 for one, other in zip(whole, part, strict=True))
    assert report.after.parameters == sum(one.numel() for one in smaller.parameters())
    assert report.after.parameters < row.share * report.before.parameters
    assert report.after.flops < row.share * report.before.flops

    # A model built anew, on no device at all, takes the weights after the same plan.
    with meta_device():
        rebuilt = build(*model_config(name))
    apply_plan(rebuilt, CompressionPlan.from_dict(plan.instructions()), size)
    shapes = {key: value.shape for key, value in rebuilt.state_dict().items()}
    assert shapes == {key: value.shape for key, value in smaller.state_dict().items()}


def unet_plan(**changes) -> tuple[nn.Module, CompressionPlan]:
    model = build(*model_config('unet'))
    return model, CompressionPlan(fingerprint(model), **changes)


@pytest.mark.parametrize(
    ('channels', 'message'),
    [
        ({'backbone.encoder.9': [0]}, "'backbone.encoder.9', which the model does not have"),
        ({'backbone.encoder.0': [0]}, r'\(Sequential\), which has no output channels'),
        ({'decode_head.convs.0.conv': []}, "leaves nothing of 'decode_head.convs.0.conv'"),
        ({'decode_head.convs.0.conv': [1, 8]}, 'keeps channel 8 of .*has the channels 0 to 7'),
        ({'decode_head.convs.0.conv': [-1]}, 'keeps channel -1 of'),
    ],
)
def test_names_what_is_wrong_with_the_channels(channels, message):
    model, plan = unet_plan(channels=channels)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CompressionError, match=message):
        apply_plan(model, plan, (32, 32))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_refuses_the_plan_of_another_model():
    model, plan = unet_plan(channels={'decode_head.convs.0.conv': [0]})
    plan.fingerprint = 'f' * 64
    with pytest.raises(CompressionError, match='made for another model'):
        apply_plan(model, plan)


class Unruly(nn.Module):
    """Takes no image of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, images):
        raise RuntimeError('expected two inputs')


@pytest.mark.parametrize('example', [None, (8, 8)])
def test_says_why_a_model_cannot_be_traced(example):
    model = Unruly()
    plan = CompressionPlan(fingerprint(model), channels={'layer': [0]})
    with pytest.raises(CompressionError, match=r'Unruly cannot be traced.*expected two inputs'):
        apply_plan(model, plan, example)


@pytest.mark.parametrize(
    ('head', 'kinds', 'in_features'),
    [
        (dict(hidden=[], dropout=0.2, pool=None), ['Linear'], 128 * 8 * 8),
        (dict(hidden=[16], dropout=0.2, pool=2), ['Linear', 'Linear'], 128 * 2 * 2),
    ],
)
def test_a_cut_classifier_gets_a_new_fully_connected_part(head, kinds, in_features):
    model = build(*model_config('vgg16'))
    plan = CompressionPlan(
        fingerprint(model),
        cut='backbone.features.10',
        channels={'backbone.features.0': [1, 2, 3], 'head.fc': [0], 'backbone.features.30': [0]},
        head=head,
    )
    report = apply_plan(model, plan, (32, 32))
    linear = [part for part in model.head.modules() if isinstance(part, nn.Linear)]
    assert [type(part).__name__ for part in linear] == kinds
    assert linear[0].in_features == in_features
    assert model.head.num_classes == 10
    assert report.fresh == ['head']
    assert report.skipped == {
        'head.fc': 'the fully connected part is new',
        'backbone.features.30': 'it went with the cut',
    }
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_channels_in_front_of_a_new_fully_connected_part():
    model = build(*model_config('vgg16'))
    plan = CompressionPlan(
        fingerprint(model),
        cut='backbone.features.10',
        channels={'backbone.features.10': [5, 6]},
        head=dict(hidden=[], dropout=0.0, pool=4),
    )
    report = apply_plan(model, plan, (32, 32))
    assert model.head.fc.in_features == 2 * 4 * 4
    assert not any(name.startswith('head.') for name in report.slices)


def test_flattening_whole_maps_asks_for_the_size():
    model = build(*model_config('vgg16'))
    plan = CompressionPlan(fingerprint(model), head=dict(hidden=[], dropout=0.0, pool=None))
    with pytest.raises(CompressionError, match='input_size of mmlayerwise'):
        apply_plan(model, plan)


def test_counts_what_the_literature_counts():
    model = build(*model_config('vgg16'))
    report = apply_plan(model, CompressionPlan(fingerprint(model)), (32, 32))
    assert report.before.flops == 313_725_952
    assert report.before == report.after
