"""Box overlaps against the plain definition."""

import pytest
import torch
from mmcv.ops import bbox_overlaps

from tests.test_ops.test_nms import iou, random_boxes


def overlap(a, b, mode, offset):
    if mode == 'iou':
        return iou(a, b, offset)
    union = iou(a, b, offset)
    areas = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    return union / (1 + union) * sum(areas) / areas[0]


@pytest.mark.parametrize('mode', ['iou', 'iof'])
@pytest.mark.parametrize('offset', [0, 1])
def test_equals_the_definition(mode, offset):
    first, second = random_boxes(13, seed=1)[0], random_boxes(9, seed=2)[0]
    pairs = [[overlap(a, b, mode, offset) for b in second.tolist()] for a in first.tolist()]
    expected = torch.tensor(pairs, dtype=torch.float64)
    assert expected.any()
    torch.testing.assert_close(bbox_overlaps(first, second, mode, offset=offset), expected)
    aligned = bbox_overlaps(first[:9], second, mode, aligned=True, offset=offset)
    torch.testing.assert_close(aligned, expected[:9].diagonal())


def test_hand_computed_values():
    first = torch.tensor([[0.0, 0.0, 10.0, 10.0], [10.0, 10.0, 20.0, 20.0]])
    second = torch.tensor([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 15.0, 15.0]])
    expected = torch.tensor([[0.5, 25 / 175], [0.0, 25 / 175]])
    torch.testing.assert_close(bbox_overlaps(first, second), expected)
    expected = torch.tensor([[1.0, 0.25], [0.0, 0.25]])
    torch.testing.assert_close(bbox_overlaps(first, second, 'iof'), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    # The areas of these boxes overflow float16.
    boxes = torch.tensor([[0.0, 0.0, 1000.0, 1000.0], [0.0, 0.0, 1000.0, 500.0]]).to(dtype)
    overlaps = bbox_overlaps(boxes, boxes)
    assert overlaps.dtype == dtype
    expected = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    torch.testing.assert_close(overlaps.float(), expected, rtol=0.01, atol=0)


def test_no_boxes():
    empty, boxes = torch.zeros(0, 4), torch.ones(3, 4)
    assert bbox_overlaps(empty, boxes).shape == (0, 3)
    assert bbox_overlaps(boxes, empty).shape == (3, 0)
