import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmlayerwise.separation import SeparationError, Tap, Trace
from mmlayerwise.separation.layers import layer_kinds


class Block(nn.Module):
    """A residual block as mmdet writes it: one ReLU for all, the sum in place."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.layer1 = nn.Sequential(Block(4), Block(4))
        self.pool = nn.MaxPool2d(2)
        self.layer2 = nn.Sequential(Block(4))

    def forward(self, x):
        first = self.layer1(self.stem(x))
        return first, self.layer2(self.pool(first))


class Head(nn.Module):
    """A tower shared by the levels, as in RetinaNet, and a branch inference doesn't run."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())
        self.predict = nn.Conv2d(4, 2, 1)
        self.auxiliary = nn.Conv2d(4, 2, 1)

    def forward(self, levels):
        return [self.predict(self.tower(level)) for level in levels]


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = Head()  # registered first, run last
        self.backbone = Backbone()

    def forward(self, x):
        return self.head(self.backbone(x))


@pytest.fixture
def trace():
    model = Detector()
    return Trace(model, lambda: model(torch.randn(2, 3, 16, 16)))


def names(layers):
    return [layer.name for layer in layers]


def test_blocks_come_in_execution_order_with_one_entry_a_call(trace):
    assert names(trace.select('auto')) == [
        'backbone.stem',
        'backbone.layer1.0.conv1',
        'backbone.layer1.0.conv2',
        'backbone.layer1.1.conv1',
        'backbone.layer1.1.conv2',
        'backbone.layer2.0.conv1',
        'backbone.layer2.0.conv2',
        'head.tower.0#0',
        'head.predict#0',
        'head.tower.0#1',
        'head.predict#1',
    ]


def test_a_block_is_tapped_behind_its_normalisation_and_activation(trace):
    taps = {layer.name: layer.tap for layer in trace.select('auto')}
    assert taps['backbone.stem'] == Tap('backbone.stem', 'backbone.stem', 0)
    # The shared ReLU: first call for the first convolution, second for the sum.
    first, second = (f'backbone.layer1.0.conv{n}' for n in (1, 2))
    assert taps[first] == Tap(first, 'backbone.layer1.0.relu', 0)
    assert taps[second] == Tap(second, 'backbone.layer1.0.relu', 1)
    assert taps['head.tower.0#1'] == Tap('head.tower.0#1', 'head.tower.2', 1)
    assert taps['head.predict#1'] == Tap('head.predict#1', 'head.predict', 1)


def test_stages_are_backbone_outputs_and_towers(trace):
    found = trace.select('stages')
    assert names(found) == ['backbone[0]', 'backbone[1]', 'head.tower.0#0', 'head.tower.0#1']
    assert [layer.shape for layer in found] == [(2, 4, 8, 8), (2, 4, 4, 4)] * 2


def test_a_network_without_stages_is_divided_where_the_resolution_changes():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    found = Trace(model, lambda: model(torch.randn(1, 3, 8, 8))).select('stages')
    assert names(found) == ['3', '5.1', '6', '8']


def test_names_and_expressions(trace):
    assert names(trace.select(['backbone.layer2', 'backbone.stem'])) == [
        'backbone.stem',
        'backbone.layer2',
    ]
    assert names(trace.select('backbone[1]')) == ['backbone[1]']
    assert names(trace.select(['head.tower.0#1'])) == ['head.tower.0#1']
    assert names(trace.select([r'.*layer1\..\.conv1'])) == [
        'backbone.layer1.0.conv1',
        'backbone.layer1.1.conv1',
    ]
    # A name of 'auto' means the same place when given by name.
    by_name = trace.select(['backbone.layer1.0.conv2'])[0]
    assert by_name == trace.select('auto')[2]


@pytest.mark.parametrize(
    ('wanted', 'message'),
    [
        ('backbone.layer3', r"'backbone.layer3'. Close names: .*backbone.layer1"),
        ('zzz', 'No layer is named or matched by'),
        ('backbone[7]', r"has no output 'backbone\[7\]'; there are backbone\[0\], backbone\[1\]"),
        ('head.auxiliary', 'part of the model, but the forward pass'),
        ('(', 'no regular expression'),
        ([], 'No layers were chosen'),
    ],
)
def test_unknown_layers_are_refused_with_the_close_names(trace, wanted, message):
    with pytest.raises(SeparationError, match=message):
        trace.select(wanted)


def test_attention_is_one_layer_and_functional_activations_end_a_chain():
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm = nn.LayerNorm(8)
            self.linear = nn.Linear(8, 8)

        def forward(self, x):
            x = self.norm(self.attention(x, x, x)[0])
            return F.relu(self.linear(x))

    model = Transformer()
    found = Trace(model, lambda: model(torch.randn(2, 5, 8))).select('auto')
    assert [(layer.name, layer.tap.module) for layer in found] == [
        ('attention', 'norm'),
        ('linear', 'linear'),
    ]
    assert set(layer_kinds(model)) == {'attention', 'norm', 'linear'}


def test_tracing_leaves_no_hooks_even_when_the_forward_pass_fails():
    model = Detector()
    with pytest.raises(RuntimeError):
        Trace(model, lambda: model(torch.randn(2, 5, 16, 16)))
    assert not any(module._forward_hooks for module in model.modules())
