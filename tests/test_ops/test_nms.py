"""Greedy suppression against a plain loop in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.ops import batched_nms, nms, nms_match


def random_boxes(num, seed=0, extent=60.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(num, 2, generator=generator) * extent
    size = torch.rand(num, 2, generator=generator) * 25 + 2
    scores = torch.rand(num, generator=generator)
    return torch.cat([corner, corner + size], dim=1).to(dtype), scores.to(dtype)


def iou(a, b, offset):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union else 0.0


def greedy_groups(boxes, scores, removes, offset=0):
    """Return the groups of nms_match; the first of each are the kept boxes of nms."""
    boxes = boxes.tolist()
    groups = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for group in groups:
            if removes(iou(boxes[group[0]], boxes[index], offset)):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


@pytest.mark.parametrize('num_boxes', [1, 7, 127, 128, 129, 700])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.9])
def test_nms_keeps_what_the_plain_loop_keeps(num_boxes, offset, threshold):
    boxes, scores = random_boxes(num_boxes)
    groups = greedy_groups(boxes, scores, lambda value: value > threshold, offset)
    dets, kept = nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == [group[0] for group in groups]
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


@given(
    seed=st.integers(0, 10_000),
    num_boxes=st.integers(1, 60),
    threshold=st.floats(0.0, 0.95),
    extent=st.sampled_from([1.0, 20.0, 200.0]),
)
def test_nms_properties(seed, num_boxes, threshold, extent):
    boxes, scores = random_boxes(num_boxes, seed, extent)
    groups = greedy_groups(boxes, scores, lambda value: value > threshold)
    assert nms(boxes, scores, threshold)[1].tolist() == [group[0] for group in groups]


def test_hand_computed_example():
    boxes = torch.tensor(
        [[0, 0, 10, 10], [0, 0, 10, 5], [5, 0, 15, 10], [20, 20, 30, 30]], dtype=torch.float32
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95])
    # Overlaps with box 0: exactly 0.5 (box 1) and 1/3 (box 2); boxes 1 and 2 overlap by 1/5.
    assert nms(boxes, scores, 0.5)[1].tolist() == [3, 0, 1, 2]
    assert nms(boxes, scores, 0.49)[1].tolist() == [3, 0, 2]
    assert nms(boxes, scores, 0.3)[1].tolist() == [3, 0]
    groups = [group.tolist() for group in nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5)]
    assert groups == [[3], [0, 1], [2]]  # at the threshold a match counts


def test_threshold_is_compared_in_single_precision():
    # 8/10 rounds up in float32: as a float32 it equals the threshold, as a double it exceeds it.
    boxes = torch.tensor([[0, 0, 10, 1], [0, 0, 8, 1]], dtype=torch.float32)
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.8)[1].tolist() == [0, 1]


def test_equal_scores_go_by_index_and_a_chain_is_resolved_in_order():
    # Each box overlaps only its neighbours, so every other one stays: the longest chain there is.
    start = torch.arange(300.0)
    boxes = torch.stack([start, start * 0, start + 2.5, start * 0 + 1], dim=1)
    assert nms(boxes, torch.ones(300), 0.4)[1].tolist() == list(range(0, 300, 2))


def test_identical_boxes_leave_the_best():
    boxes = torch.tensor([[3.0, 3.0, 9.0, 9.0]]).repeat(500, 1)
    scores = torch.arange(500.0)
    assert nms(boxes, scores, 0.5)[1].tolist() == [499]


def test_boxes_without_area_survive():
    boxes = torch.zeros(3, 4)
    assert nms(boxes, torch.tensor([0.1, 0.3, 0.2]), 0.5)[1].tolist() == [1, 2, 0]


def test_score_threshold_and_maximum():
    boxes, scores = random_boxes(50, extent=1000.0)
    dets, kept = nms(boxes, scores, 0.5, score_threshold=0.4, max_num=5)
    best = scores.argsort(descending=True)[:5]
    assert kept.tolist() == best.tolist()
    assert (dets[:, 4] > 0.4).all()


def test_numpy_in_numpy_out():
    boxes, scores = random_boxes(40, dtype=torch.float32)
    dets, kept = nms(boxes.numpy(), scores.numpy(), 0.3)
    assert isinstance(dets, np.ndarray)
    assert kept.tolist() == nms(boxes, scores, 0.3)[1].tolist()


def test_no_boxes():
    dets, kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert kept.dtype == torch.long
    assert nms_match(torch.zeros(0, 5), 0.5) == []


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    boxes, scores = random_boxes(200, dtype=dtype)
    dets, kept = nms(boxes, scores, 0.5)
    expected = greedy_groups(boxes.double(), scores.double(), lambda value: value > 0.5)
    assert kept.tolist() == [group[0] for group in expected]
    assert dets.dtype == dtype


def test_batched_nms_separates_classes_unless_agnostic():
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [0, 0, 10, 9]], dtype=torch.float32)
    scores = torch.tensor([0.9, 0.8, 0.7])
    labels = torch.tensor([0, 1, 0])
    config = dict(type='nms', iou_threshold=0.5)
    assert batched_nms(boxes, scores, labels, config)[1].tolist() == [0, 1]
    assert batched_nms(boxes, scores, labels, config, class_agnostic=True)[1].tolist() == [0]
    assert batched_nms(boxes, scores, labels, None)[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_batched_nms_by_parts_equals_the_whole(kind):
    boxes, scores = random_boxes(300, dtype=torch.float32)
    labels = torch.arange(300) % 3
    config = dict(type=kind, iou_threshold=0.5, max_num=40)
    if kind == 'soft_nms':
        config = dict(type=kind, iou_threshold=0.5, min_score=0.2)
    whole, kept = batched_nms(boxes, scores, labels, config)
    parts, kept_by_parts = batched_nms(boxes, scores, labels, dict(config, split_thr=10))
    assert kept.tolist() == kept_by_parts.tolist()
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize('num_boxes', [1, 50, 400])
@pytest.mark.parametrize('threshold', [0.2, 0.6])
def test_nms_match_groups_as_the_plain_loop(num_boxes, threshold):
    boxes, scores = random_boxes(num_boxes, seed=3)
    expected = greedy_groups(boxes, scores, lambda value: value >= threshold)
    groups = nms_match(torch.cat([boxes, scores[:, None]], dim=1), threshold)
    assert [group.tolist() for group in groups] == expected
    assert all(group.dtype == torch.long for group in groups)


@pytest.mark.gpu
def test_cuda_equals_cpu():
    boxes, scores = random_boxes(3000, extent=400.0, dtype=torch.float32)
    expected = nms(boxes, scores, 0.5)[1]
    assert nms(boxes.cuda(), scores.cuda(), 0.5)[1].tolist() == expected.tolist()
