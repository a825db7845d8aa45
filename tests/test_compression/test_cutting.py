import pytest
import torch
from torch import nn

from mmlayerwise.compression import cutting
from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.cutting import BlockIndex
from mmlayerwise.separation.layers import Layer, Trace
from mmlayerwise.separation.significance import SignificanceTest
from mmlayerwise.separation.taps import Tap


def _block(name: str, right: int, total: int = 200, chance: float = 0.1) -> BlockIndex:
    """A block whose first samples have a friend as neighbour."""
    agreement = Agreement(torch.arange(total) < right, chance)
    return BlockIndex(Layer(Tap(name, name), (1, 4, 2, 2)), agreement, torch.arange(total))


def _blocks(*right: int) -> list[BlockIndex]:
    return [_block(f'block{place}', count) for place, count in enumerate(right)]


@pytest.mark.parametrize(
    ('right', 'end'),
    [
        ((60, 100, 150, 150, 151), 2),  # half a percent more is not significant
        ((60, 100, 150, 150, 190), 4),  # a late gain counts
        ((190, 150, 100), 0),
        ((60, 150, 120, 150), 1),
        ((80,), 0),
    ],
)
def test_classifier_ends_after_the_last_significant_gain(right, end):
    assert cutting.last_gain(_blocks(*right), SignificanceTest()) == end


def test_thresholds_move_the_end():
    blocks = _blocks(60, 150, 160)
    assert cutting.last_gain(blocks, SignificanceTest()) == 2
    assert cutting.last_gain(blocks, SignificanceTest(least=0.06)) == 1
    assert cutting.last_gain(blocks, SignificanceTest(z=4)) == 1


@pytest.mark.parametrize(
    ('right', 'level'),
    [
        ((60, 100, 150, 120, 190), 2),  # what lies deeper does not matter
        ((60, 100, 150, 150, 150), 2),
        ((60, 100, 150, 170, 190), 4),
        ((100, 60, 190), 0),
        ((60, 61, 62, 100, 101), 3),  # steps too small to count alone
    ],
)
def test_encoder_ends_where_the_index_drops_or_stops_rising(right, level):
    assert cutting.critical_level(_blocks(*right), SignificanceTest()) == level


def test_chance_level_is_told_by_the_interval():
    assert cutting.at_chance(_blocks(20, 22, 25))  # 12.5 %, of 200
    assert not cutting.at_chance(_blocks(20, 60))


def _trace(model: nn.Module, size: int = 16) -> Trace:
    return Trace(model, lambda: model(torch.zeros(1, 3, size, size)))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 1)

    def forward(self, inputs):
        return torch.cat([self.one(inputs), self.two(inputs)], 1)


def test_blocks_end_with_their_pooling_and_branches_with_their_block():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Branches(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 2),
    )
    ends = cutting.block_ends(_trace(model))
    assert [layer.name for layer in ends] == ['0', '4', '5']
    assert [layer.shape[1:] for layer in ends] == [(4, 16, 16), (4, 8, 8), (5, 8, 8)]
    bare = cutting.block_ends(_trace(model), with_pooling=False)
    assert [layer.name for layer in bare] == ['0', '2', '5']


def test_only_the_backbone_counts_where_there_is_one():
    model = nn.Module()
    model.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    model.head = nn.Conv2d(4, 2, 1)
    model.forward = lambda inputs: model.head(model.backbone(inputs))
    names = [layer.name for layer in cutting.block_ends(_trace(model))]
    assert names == ['backbone.0', 'backbone.1']


class SmallUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.deeper = nn.Conv2d(6, 6, 3, padding=1)
        self.bottom = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, inputs):
        low = self.bottom(self.deeper(self.middle(self.top(inputs))))
        return self.out(self.up(low))


def test_encoder_levels_are_the_deepest_blocks_of_the_way_down():
    levels = cutting.encoder_levels(_trace(SmallUNet()))
    assert [layer.name for layer in levels] == ['top', 'deeper', 'bottom']
