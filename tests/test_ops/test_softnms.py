"""Soft suppression against a plain loop in float64 that keeps mmcv's order of the rest."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, soft_nms

from tests.test_ops.test_nms import iou, random_boxes


def reference(boxes, scores, method, iou_threshold, sigma, min_score, offset):
    rest = [
        [score, index, box] for index, (box, score) in enumerate(zip(boxes, scores, strict=True))
    ]
    taken = []
    while rest:
        best = max(range(len(rest)), key=lambda i: rest[i][0])  # the first of equal ones
        rest[0], rest[best] = rest[best], rest[0]
        score, index, box = rest.pop(0)
        taken.append((index, score))
        position = 0
        while position < len(rest):
            overlap = iou(box, rest[position][2], offset)
            if method == 'gaussian':
                rest[position][0] *= math.exp(-overlap * overlap / sigma)
            elif overlap >= iou_threshold:
                rest[position][0] *= 1 - overlap if method == 'linear' else 0
            if rest[position][0] < min_score:
                rest[position] = rest[-1]
                rest.pop()
            else:
                position += 1
    return taken


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('min_score', [0.001, 0.3])
@pytest.mark.parametrize('quantised', [False, True])
def test_equals_the_plain_loop(method, offset, min_score, quantised):
    boxes, scores = random_boxes(150)
    if quantised:  # many equal scores: the order of ties counts
        scores = (scores * 4).ceil() / 4
    expected = reference(boxes.tolist(), scores.tolist(), method, 0.3, 0.5, min_score, offset)
    dets, taken = soft_nms(boxes, scores, 0.3, 0.5, min_score, method, offset)
    assert taken.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, :4], boxes[taken])
    torch.testing.assert_close(dets[:, 4], boxes.new_tensor([score for _, score in expected]))


def test_hand_computed_linear_decay():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]], dtype=np.float32)
    scores = np.array([0.9, 0.8, 0.3], dtype=np.float32)
    dets, taken = soft_nms(boxes, scores, iou_threshold=0.3)
    assert taken.tolist() == [0, 1, 2]
    np.testing.assert_allclose(dets[:, 4], [0.9, 0.4, 0.3], rtol=1e-6)
    dets, taken = soft_nms(boxes, scores, method='gaussian', sigma=0.5)
    np.testing.assert_allclose(dets[:, 4], [0.9, 0.8 * math.exp(-0.5), 0.3], rtol=1e-6)
    assert soft_nms(boxes, scores, 0.3, method='naive')[1].tolist() == [0, 2]


def test_inputs_stay_as_they_are():
    boxes, scores = random_boxes(30, dtype=torch.float32)
    before = boxes.clone(), scores.clone()
    soft_nms(boxes, scores)
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


def test_no_boxes():
    dets, taken = soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5)
    assert taken.shape == (0,)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    boxes, scores = random_boxes(60, dtype=dtype)
    dets, taken = soft_nms(boxes, scores, 0.3, min_score=0.05)
    expected = reference(
        boxes.double().tolist(), scores.double().tolist(), 'linear', 0.3, 0.5, 0.05, 0
    )
    assert taken.tolist() == [index for index, _ in expected]
    assert dets.dtype == dtype
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(
        dets[:, 4].double(),
        torch.tensor([score for _, score in expected], dtype=torch.float64),
        rtol=rounding,
        atol=rounding,
    )


def test_batched_soft_nms_leaves_other_classes_alone():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0]])
    scores = torch.tensor([0.9, 0.8])
    config = dict(type='soft_nms', iou_threshold=0.3)
    dets, _ = batched_nms(boxes, scores, torch.tensor([0, 1]), config)
    torch.testing.assert_close(dets[:, 4], scores)
    dets, _ = batched_nms(boxes, scores, torch.tensor([0, 0]), config)
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.08]))
