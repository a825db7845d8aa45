"""The toolboxes' metrics against their textbook definitions, each from one confusion matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import METRICS

NUM_CLASSES = 4
IGNORED = 255


def measure(predicted, label, names=('mIoU', 'mDice', 'mFscore')):
    """All that IoUMetric gives for one pair of maps."""
    pytest.importorskip('mmseg')
    metric = METRICS.build(dict(type='mmseg.IoUMetric', iou_metrics=list(names)))
    metric.dataset_meta = dict(classes=[str(k) for k in range(NUM_CLASSES)])
    sample = dict(
        pred_sem_seg=dict(data=torch.from_numpy(predicted)[None]),
        gt_sem_seg=dict(data=torch.from_numpy(label)[None]),
    )
    metric.process({}, [sample])
    return metric.compute_metrics(metric.results)


def confusion_matrix(predicted, label):
    """p_ij: the number of pixels of class i that are predicted as class j."""
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES))
    for i, j in zip(label.ravel(), predicted.ravel(), strict=True):
        if i != IGNORED:
            counts[i, j] += 1
    return counts


def percent(values):
    """Mean over the classes for which the ratio exists, as the toolbox rounds it."""
    return round(100 * float(np.nanmean(values)), 2)


@st.composite
def maps(draw):
    size = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    present = draw(st.lists(st.integers(0, NUM_CLASSES - 1), min_size=1, unique=True))
    predicted = random.choice(present, size)
    label = random.choice([*range(NUM_CLASSES), IGNORED], size)
    label[0, 0] = 0  # at least one labelled pixel
    return predicted.astype(np.int64), label.astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(maps())
def test_segmentation_metrics_are_those_of_the_confusion_matrix(pair):
    p = confusion_matrix(*pair)
    measured = measure(*pair)
    true_positive, of_class, as_class = p.diagonal(), p.sum(1), p.sum(0)
    false_positive, false_negative = as_class - true_positive, of_class - true_positive
    with np.errstate(invalid='ignore'):
        recall = true_positive / of_class
        precision = true_positive / as_class
        iou = true_positive / (true_positive + false_positive + false_negative)
        dice = 2 * true_positive / (2 * true_positive + false_positive + false_negative)
        f1 = 2 * precision * recall / (precision + recall)
    close = {'abs': 0.011}  # the toolbox counts in float32 and rounds to two digits
    assert measured['aAcc'] == pytest.approx(100 * true_positive.sum() / p.sum(), **close)
    assert measured['mAcc'] == pytest.approx(percent(recall), **close)
    assert measured['mIoU'] == pytest.approx(percent(iou), **close)
    assert measured['mDice'] == pytest.approx(percent(dice), **close)
    assert measured['mRecall'] == pytest.approx(percent(recall), **close)
    if (as_class > 0).any():
        assert measured['mPrecision'] == pytest.approx(percent(precision), **close)
    if (true_positive > 0).any():
        assert measured['mFscore'] == pytest.approx(percent(f1), **close)


def test_dice_counts_a_class_without_a_hit_and_the_f_score_leaves_it_out():
    label = np.array([[0, 0, 1, 1]])
    predicted = np.array([[0, 0, 0, 2]])
    measured = measure(predicted, label)
    # Class 0: 2 TP, 1 FP. Classes 1 and 2: no hit, so F1 = 2 P R / (P + R) is 0 / 0.
    assert measured['mFscore'] == 80.0
    assert measured['mDice'] == pytest.approx((80 + 0 + 0) / 3, abs=0.01)


def boxes_overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(width, 0) * max(height, 0)
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return intersection / (sum(area) - intersection)


def average_precision(detections, truths, threshold):
    """COCO's AP of one class: precision at 101 recalls, greedy matching by descending score."""
    hits, taken = [], set()
    for image, _, box in sorted(detections, key=lambda one: -one[1]):
        candidates = [
            (boxes_overlap(box, truth), number)
            for number, (owner, truth) in enumerate(truths)
            if owner == image and number not in taken
        ]
        overlap, number = max(candidates, default=(0.0, None))
        hits.append(overlap >= threshold)
        if hits[-1]:
            taken.add(number)
    found = np.cumsum(hits)
    precision, recall = found / np.arange(1, len(hits) + 1), found / len(truths)
    return np.mean(
        [max(precision[recall >= level - 1e-12], default=0.0) for level in np.linspace(0, 1, 101)]
    )


@pytest.mark.parametrize('seed', range(5))
def test_average_precision_is_that_of_its_definition(seed):
    pytest.importorskip('mmdet')
    random = np.random.default_rng(seed)
    truths, detections, samples = [], [], []
    for image in range(4):
        boxes = [[0, 0, 40, 40], [50, 50, 90, 80], [10, 55, 40, 95]][: random.integers(1, 4)]
        boxes = np.array(boxes, float)
        moved = np.concatenate([boxes + random.normal(0, 3, boxes.shape), [[5, 5, 30, 20]]])
        scores = random.permutation(100)[: len(moved)] / 100 + image / 1000  # no ties
        truths += [(image, box) for box in boxes]
        detections += [(image, s, box) for s, box in zip(scores, moved, strict=True)]
        samples.append(
            dict(
                img_id=image,
                ori_shape=(100, 100),
                instances=[
                    dict(bbox=box.tolist(), bbox_label=0, ignore_flag=0, mask=[]) for box in boxes
                ],
                pred_instances=dict(
                    bboxes=torch.from_numpy(moved),
                    scores=torch.from_numpy(scores),
                    labels=torch.zeros(len(moved), dtype=torch.long),
                ),
            )
        )
    metric = METRICS.build(dict(type='mmdet.CocoMetric', metric='bbox'))
    metric.dataset_meta = dict(classes=('thing',))
    metric.process({}, samples)
    measured = metric.compute_metrics(metric.results)
    thresholds = np.linspace(0.5, 0.95, 10)
    expected = [average_precision(detections, truths, one) for one in thresholds]
    assert measured['bbox_mAP_50'] == pytest.approx(expected[0], abs=6e-4)
    assert measured['bbox_mAP_75'] == pytest.approx(expected[5], abs=6e-4)
    assert measured['bbox_mAP'] == pytest.approx(np.mean(expected), abs=6e-4)
