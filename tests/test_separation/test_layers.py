from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmlayerwise.separation import SeparationError, Tap, Taps, Trace
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


def test_attention_is_one_layer():
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm = nn.LayerNorm(8)
            self.linear = nn.Linear(8, 8)

        def forward(self, x):
            return self.linear(self.norm(self.attention(x, x, x)[0]))

    model = Transformer()
    found = Trace(model, lambda: model(torch.randn(2, 5, 8))).select('auto')
    assert [(layer.name, layer.tap.module) for layer in found] == [
        ('attention', 'norm'),
        ('linear', 'linear'),
    ]
    assert set(layer_kinds(model)) == {'attention', 'norm', 'linear'}


class Functional(nn.Module):
    """Activations as functions, of every shape that a forward pass takes."""

    def __init__(self):
        super().__init__()
        for name in ('plain', 'normalised', 'residual', 'gate', 'untouched'):
            setattr(self, name, nn.Conv2d(3, 3, 3, padding=1))
        self.norm = nn.BatchNorm2d(3)
        self.own = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    def forward(self, x):
        x = F.leaky_relu(self.plain(x), 0.2)
        x = self.norm(self.normalised(x)).relu_()
        total = self.residual(x)
        total += x
        x = F.relu(total)
        x = x * torch.sigmoid(self.gate(x))
        return self.own(self.untouched(x) + 1)


def test_an_activation_called_as_a_function_is_part_of_its_block():
    model, images = Functional().eval(), torch.randn(2, 3, 8, 8)
    found = Trace(model, lambda: model(images)).select('auto')
    taps = {layer.name: layer.tap for layer in found}
    assert list(taps) == ['plain', 'normalised', 'residual', 'gate', 'untouched', 'own.0']
    assert {name for name, tap in taps.items() if tap.activation} == {
        'plain',
        'normalised',
        'residual',
    }
    # An activation that is a module stays one, and a gate is no activation of the layer.
    assert taps['own.0'] == Tap('own.0', 'own.1')
    assert taps['gate'] == Tap('gate', 'gate')
    read = {}
    with torch.no_grad():
        plain = F.leaky_relu(model.plain(images), 0.2)
        normalised = model.norm(model.normalised(plain)).relu()
        expected = {
            'plain': plain,
            'normalised': normalised,
            'residual': F.relu(model.residual(normalised) + normalised),
        }
        reader = Taps(model, taps.values(), lambda tap, out: read.update({tap.name: out.clone()}))
        with reader as reading:
            assert torch.equal(reading.run(lambda: model(images)), model(images))
    assert read.keys() == taps.keys()
    for name, values in expected.items():
        assert torch.allclose(read[name], values)


def test_a_block_without_its_activation_is_unread():
    model = Functional()
    taps = Taps(model, [Tap('gate', 'gate', activation=True)], lambda *_: None)
    with pytest.raises(SeparationError, match='did not reach gate'), taps:
        taps.run(lambda: model(torch.randn(1, 3, 8, 8)))


@dataclass
class Scores:
    scores: torch.Tensor
    note: str


class Returning(nn.Module):
    """A layer, and a part that returns something else than a tensor."""

    def __init__(self, wrap):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.part = Wrapping(wrap)

    def forward(self, x):
        return self.part(self.conv(x))


class Wrapping(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x)


@pytest.mark.parametrize(
    ('wrap', 'parts'),
    [
        (lambda x: {'a': x, 'b': x + 1}, ['part[a]', 'part[b]']),
        (lambda x: Scores(x, 'text'), ['part[scores]']),
        (lambda x: ([x, x], (x,)), ['part[0][0]', 'part[0][1]', 'part[1][0]']),
        (lambda x: {'a': [x, 3]}, ['part[a][0]']),
    ],
)
def test_parts_of_outputs_have_names(wrap, parts):
    model, images = Returning(wrap), torch.randn(2, 3, 4, 4)
    trace = Trace(model, lambda: model(images))
    assert names(trace.select('part')) == parts
    assert names(trace.select(parts[-1])) == parts[-1:]
    read = []
    taps = [layer.tap for layer in trace.select('part')]
    with Taps(model, taps, lambda tap, output: read.append(output.shape)) as reading:
        reading.run(lambda: model(images))
    assert read == [(2, 3, 4, 4)] * len(parts)


def test_a_part_may_be_named_with_quotes():
    model = Returning(lambda x: {'a': x})
    trace = Trace(model, lambda: model(torch.randn(2, 3, 4, 4)))
    assert names(trace.select("part['a']")) == ['part[a]']
    with pytest.raises(SeparationError, match=r"no output 'part\[b\]'; there are part\[a\]"):
        trace.select('part["b"]')


def test_a_layer_without_tensors_says_what_it_returns():
    model = Returning(lambda x: [Scores('', '')])
    trace = Trace(model, lambda: model(torch.randn(2, 3, 4, 4)))
    with pytest.raises(
        SeparationError, match=r'returns no floating-point tensor: part a list of S'
    ):
        trace.select('part')


def test_a_module_called_twice_gives_one_entry_a_call_in_the_order_of_the_pass():
    class Recursive(nn.Module):
        """As a recursive pyramid: the backbone runs again on what the neck made of it."""

        def __init__(self):
            super().__init__()
            self.neck = nn.Conv2d(3, 3, 1)
            self.backbone = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())

        def forward(self, x):
            return self.neck(self.backbone(x + self.neck(self.backbone(x))))

    model = Recursive().eval()
    images = torch.randn(2, 3, 4, 4)
    found = Trace(model, lambda: model(images)).select('auto')
    assert names(found) == ['backbone.0#0', 'neck#0', 'backbone.0#1', 'neck#1']
    read = {}
    taps = [layer.tap for layer in found]
    with Taps(model, taps, lambda tap, output: read.update({tap.name: output})) as reading:
        reading.run(lambda: model(images))
    first = model.neck(model.backbone(images))
    assert torch.equal(read['neck#0'], first)
    assert torch.equal(read['neck#1'], model.neck(model.backbone(images + first)))


def test_tracing_leaves_no_hooks_even_when_the_forward_pass_fails():
    model = Detector()
    with pytest.raises(RuntimeError):
        Trace(model, lambda: model(torch.randn(2, 5, 16, 16)))
    assert not any(module._forward_hooks for module in model.modules())
