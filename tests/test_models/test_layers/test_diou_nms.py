import math

import pytest
import torch

pytest.importorskip('mmdet')

from mmcv.ops import batched_nms, nms

from mmlayerwise.models.layers.diou_nms import diou_nms
from tests.test_models.test_dense_heads.boxes import iou


def plain_diou_nms(boxes, scores, threshold, beta):
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(_similarity(boxes[index], boxes[k], beta) <= threshold for k in kept):
            kept.append(index)
    return kept


def _similarity(a, b, beta):
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (a, b)]
    width = max(a[2], b[2]) - min(a[0], b[0])
    height = max(a[3], b[3]) - min(a[1], b[1])
    return iou(a, b) - (math.dist(*centres) / math.hypot(width, height)) ** (2 * beta)


def random_boxes(count=60):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * 30
    sizes = torch.rand(count, 2, generator=generator) * 40 + 5
    return torch.cat([corners, corners + sizes], 1), torch.rand(count, generator=generator)


@pytest.mark.parametrize('beta', [1.0, 0.6])
def test_keeps_what_a_plain_loop_keeps(beta):
    boxes, scores = random_boxes()
    dets, keep = diou_nms(boxes, scores, 0.3, beta=beta)
    expected = plain_diou_nms(boxes.tolist(), scores.tolist(), 0.3, beta)
    assert keep.tolist() == expected
    assert len(nms(boxes, scores, 0.3)[1]) < len(expected) < len(boxes)
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], 1)[keep])


def test_serves_as_an_operator_of_batched_nms():
    boxes, scores = random_boxes(20)
    labels = torch.arange(20) % 2
    _, keep = batched_nms(boxes, scores, labels, dict(type=diou_nms, iou_threshold=0.2))
    expected = [
        label + 2 * i
        for label in (0, 1)
        for i in plain_diou_nms(boxes[label::2].tolist(), scores[label::2].tolist(), 0.2, 1)
    ]
    assert sorted(keep.tolist()) == sorted(expected)


def test_no_box():
    dets, keep = diou_nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert keep.shape == (0,)


def test_boxes_without_area():
    _, keep = diou_nms(torch.zeros(2, 4), torch.tensor([0.1, 0.2]), 0.5)
    assert keep.tolist() == [1, 0]
