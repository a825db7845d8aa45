"""Planning on pixels and boxes."""

import pytest
import torch
from torch import nn

from mmlayerwise.compression.comparison import reselect
from mmlayerwise.compression.planner import CompressionPlanner
from mmlayerwise.compression.reading import LayerReader
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.compression.watching import Schedule
from mmlayerwise.separation.batches import as_batches
from mmlayerwise.separation.samples import GroundTruth

SIDE, NUM_IMAGES = 16, 24


def scenes() -> tuple[torch.Tensor, list[GroundTruth]]:
    """Dark images with one bright square each; its brightness is its class."""
    generator = torch.Generator().manual_seed(0)
    images = 0.02 * torch.rand((NUM_IMAGES, 3, SIDE, SIDE), generator=generator)
    truths = []
    for number, image in enumerate(images):
        label = 1 + number % 2
        left, top = torch.randint(0, 8, (2,), generator=generator).tolist()
        image[:, top : top + 8, left : left + 8] += label
        label_map = torch.zeros(SIDE, SIDE, dtype=torch.long)
        label_map[top : top + 8, left : left + 8] = label
        box = torch.tensor([[left, top, left + 8, top + 8]], dtype=torch.float)
        truths.append(
            GroundTruth(
                number,
                (SIDE, SIDE),
                boxes=box,
                box_labels=torch.tensor([label]),
                label_map=label_map,
                masks=(label_map > 0)[None],
            )
        )
    return images, truths


class Dense(nn.Module):
    """A backbone of two stages, a neck and a head, as detectors and segmentors have them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU()),
        )
        self.neck = nn.Conv2d(16, 16, 1)
        self.bbox_head = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 1)
        )

    def forward(self, images):
        return self.bbox_head(self.neck(self.backbone(images)))


def plan(kind: str, **settings):
    images, truths = scenes()
    parts = [(images[n : n + 8], truths[n : n + 8]) for n in range(0, NUM_IMAGES, 8)]
    reader = LayerReader(
        list(as_batches(parts)), lambda model, inputs: model(inputs), {'type': kind}
    )
    model = Dense()
    planner = CompressionPlanner(reader, PlannerSettings(**settings), images[:1])
    return reader, model, planner.plan(model)


@pytest.fixture(scope='module')
def boxes():
    return plan('BoxSamples')


def test_boxes_thin_backbone_and_neck_and_cut_nothing(boxes):
    _, _, planned = boxes
    assert planned.plan.cut is None
    assert set(planned.plan.channels) <= {'backbone.0.0', 'backbone.1.0', 'neck'}
    assert 'neck' in planned.plan.channels
    assert planned.plan.savings.kept('flops') < 0.7


def test_boxes_are_watched_in_the_neck(boxes):
    _, _, planned = boxes
    for step in planned.plan.steps:
        assert step.index_layer == 'neck'
        assert step.after >= planned.plan.steps[0].before - 0.01 - 1e-9


def test_instances_are_treated_as_boxes_are():
    _, _, planned = plan('InstanceSamples')
    assert planned.plan.cut is None
    # A cut was not even tried.
    assert not [name for name in planned.refused if name.startswith('the layers behind')]
    assert {step.index_layer for step in planned.plan.steps} == {'neck'}


def test_pixels_of_one_image_are_no_neighbours():
    reader, model, planned = plan('PixelSamples', cut='none')
    layer = reader.trace(model).outputs('backbone.0.0')[0]
    samples = reader.read_one(model, layer)
    assert samples.groups.unique().tolist() == list(range(NUM_IMAGES))
    # The last map before the prediction is watched beside the encoder's end.
    assert planned.plan.steps[-1].index_layer.startswith('backbone.1.0')
    assert planned.plan.savings.kept('flops') < 1


def test_same_widths_by_another_criterion_cost_the_same(boxes):
    reader, model, planned = boxes
    order = Schedule(reader.trace(model)).first
    images = scenes()[0]
    for criterion in ('magnitude', 'random'):
        other = reselect(planned.plan, model, criterion, order, images[:1], seed=1)
        assert {name: len(kept) for name, kept in other.channels.items()} == {
            name: len(kept) for name, kept in planned.plan.channels.items()
        }
        assert other.steps == []
    weights = model.neck.weight.detach().abs().sum((1, 2, 3))
    count = len(planned.plan.channels['neck'])
    expected = weights.argsort(descending=True)[:count].sort().values.tolist()
    magnitude = reselect(planned.plan, model, 'magnitude', order, images[:1])
    assert magnitude.channels['neck'] == expected
