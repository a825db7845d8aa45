import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

pytest.importorskip('mmdet')

from mmdet.models.task_modules.prior_generators import MlvlPointGenerator

from mmlayerwise.models.task_modules import CenterCellAssigner

STRIDES, LIMITS, SIZE = (32, 16, 8), (20, 60), 128


def make_priors():
    sizes = [(SIZE // stride, SIZE // stride) for stride in STRIDES]
    generator = MlvlPointGenerator(STRIDES, offset=0.5)
    return torch.cat(generator.grid_priors(sizes, device='cpu', with_stride=True))


def by_definition(priors, boxes, radius):
    """Cell by cell and object by object."""
    assigned = np.zeros(len(priors), int)
    for number, (x, y, stride, _) in enumerate(priors.tolist()):
        best = np.inf
        for one, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            half = max(x2 - x1, y2 - y1) / 2
            if stride != (8 if half <= LIMITS[0] else 16 if half <= LIMITS[1] else 32):
                continue
            last = SIZE // stride - 1
            column = min(int((x1 + x2) / 2 // stride), last)
            row = min(int((y1 + y2) / 2 // stride), last)
            near = max(abs(x // stride - column), abs(y // stride - row)) <= radius
            if near and (x2 - x1) * (y2 - y1) < best:
                best, assigned[number] = (x2 - x1) * (y2 - y1), one + 1
    return assigned


def assign(boxes, radius, predicted=None):
    priors = make_priors()
    if predicted is None:
        predicted = torch.zeros(len(priors), 4)
    assigner = CenterCellAssigner(radius, LIMITS)
    return assigner.assign(
        InstanceData(priors=priors, bboxes=predicted),
        InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) + 5),
    )


@pytest.mark.parametrize('radius', [0, 1])
@pytest.mark.parametrize('seed', range(4))
def test_cells_are_those_of_the_definition(radius, seed):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 110, (6, 2))
    sides = random.uniform(2, 128 - corners)
    boxes = torch.from_numpy(np.concatenate([corners, corners + sides], 1)).float()
    result = assign(boxes, radius)
    expected = by_definition(make_priors(), boxes, radius)
    assert result.gt_inds.tolist() == expected.tolist()
    assert result.labels.tolist() == [one + 4 if one else -1 for one in expected]


def test_one_cell_or_nine_learn_an_object_in_the_middle():
    boxes = torch.tensor([[50.0, 50, 70, 70]])
    assert (assign(boxes, 0).gt_inds > 0).sum() == 1
    assert (assign(boxes, 1).gt_inds > 0).sum() == 9


def test_a_centre_on_the_right_edge_belongs_to_the_last_cell():
    boxes = torch.tensor([[120.0, 60, 136, 68]])
    chosen = make_priors()[assign(boxes, 0).gt_inds > 0]
    assert chosen.tolist() == [[124, 68, 8, 8]]


def test_overlaps_are_those_of_the_predicted_boxes():
    boxes = torch.tensor([[40.0, 40, 50, 50]])
    predicted = torch.tensor([[40.0, 40, 50, 45]]).repeat(len(make_priors()), 1)
    result = assign(boxes, 0, predicted)
    assert result.max_overlaps[result.gt_inds > 0].tolist() == [0.5]
    assert result.max_overlaps[result.gt_inds == 0].sum() == 0
