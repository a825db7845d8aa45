import torch
from torch import nn

from mmlayerwise.separation import Batch, SeparationMeter
from mmlayerwise.separation.batches import as_batches
from mmlayerwise.visualization.report.cost import model_cost


def cost_of(model, size=8, layers='auto', images=2):
    inputs = torch.randn(images, 3, size, size)
    (batch,) = as_batches([(inputs, torch.arange(images) % 2)])

    def forward(net, x):
        return net(x)

    meter = SeparationMeter(layers)
    meter.prepare(model, batch, forward)
    return model_cost(model, meter.chosen, batch, forward)


def test_each_layer_is_charged_with_its_own_parameters_and_multiply_adds():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    cost, notes = cost_of(model)
    assert {name: (one.parameters, one.flops) for name, one in cost.layers.items()} == {
        '0': (216, 3 * 8 * 9 * 64),
        '2': (8 * 4 * 9 + 4, 8 * 4 * 9 * 16),
        '4': (650, 640),
    }
    assert cost.parameters == 216 + 292 + 650
    assert cost.flops == sum(one.flops for one in cost.layers.values())
    assert notes == []


def test_what_runs_between_two_layers_belongs_to_the_later_one():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    cost, _ = cost_of(model, layers=['0', '4'])
    assert cost.layers['4'].parameters == 8 * 8 + 8 + 8 * 2 + 2
    assert cost.layers['4'].flops == (64 + 16) * 64
    assert cost.layers['0'].parameters == 32


class TwoLevels(nn.Module):
    """A backbone of two outputs and a head that both levels share."""

    def __init__(self, copies=False):
        super().__init__()
        self.backbone = Backbone(copies)
        self.head = nn.Conv2d(4, 6, 1)

    def forward(self, x):
        return [self.head(level) for level in self.backbone(x)]


class Backbone(nn.Module):
    def __init__(self, copies):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.down = nn.Conv2d(4, 4, 2, stride=2)
        self.copies = copies

    def forward(self, x):
        first = self.stem(x)
        levels = first, self.down(first)
        return tuple(level.clone() for level in levels) if self.copies else levels


def test_a_shared_head_is_divided_by_the_size_of_the_levels():
    cost, _ = cost_of(TwoLevels(), layers=['backbone', 'head'])
    found = {name: (one.parameters, one.flops) for name, one in cost.layers.items()}
    assert found == {
        'backbone[0]': (16, 12 * 64),
        'backbone[1]': (68, 64 * 16),
        'head#0': (30, 24 * 64),
        'head#1': (0, 24 * 16),
    }


def test_outputs_of_unknown_origin_have_no_cost_and_the_note_says_so():
    cost, notes = cost_of(TwoLevels(copies=True), layers=['backbone', 'head'])
    for name in ('backbone[0]', 'backbone[1]'):
        assert (cost.layers[name].parameters, cost.layers[name].flops) == (None, None)
    assert cost.layers['head#1'].flops == 24 * 16
    assert any('backbone[0], backbone[1]' in note for note in notes)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.downsample = nn.Conv2d(3, 8, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.conv(x)
        out += self.downsample(x)
        return self.relu(out)


def test_a_convolution_that_is_read_behind_the_sum_keeps_its_own_cost():
    cost, _ = cost_of(Residual())
    found = {name: (one.parameters, one.flops) for name, one in cost.layers.items()}
    assert list(found) == ['downsample', 'conv']
    assert found == {'downsample': (24, 24 * 64), 'conv': (216, 216 * 64)}


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        if torch.jit.is_tracing():
            raise RuntimeError('no tracing <here>')
        return self.conv(x)


def test_a_network_that_cannot_be_traced_still_has_parameters():
    cost, notes = cost_of(Untraceable())
    assert cost.flops is None
    assert (cost.layers['conv'].parameters, cost.layers['conv'].flops) == (16, None)
    assert notes == [
        'FLOPs are missing: the network cannot be traced (RuntimeError: no tracing <here>).'
    ]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    (batch,) = as_batches([(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))])
    assert isinstance(batch, Batch)
    meter = SeparationMeter('auto')
    meter.prepare(model, batch, lambda net, x: net(x))
    model_cost(model, meter.chosen, batch, lambda net, x: net(x))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())
