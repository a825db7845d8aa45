"""YOLOv4's head against plain loops over levels, places and boxes."""

import math

import pytest
import torch

pytest.importorskip('mmdet')

from mmengine import ConfigDict
from mmengine.structures import InstanceData

from mmlayerwise.models.dense_heads import YOLOv4Head
from mmlayerwise.models.layers.diou_nms import diou_nms
from tests.test_models.test_dense_heads.boxes import centre_box, iou, sigmoid

ANCHORS = [[(30, 20), (40, 60)], [(6, 8), (14, 10)]]
STRIDES, SCALES = [16, 8], [1.05, 1.2]
SIZES = [(2, 3), (4, 6)]
NUM_CLASSES = 3
IMAGES = [
    # The first two boxes share a cell and an anchor; the last ends at the border.
    ([[9.0, 9, 15, 16], [8, 10, 15, 15], [20, 4, 48, 32]], [0, 2, 1]),
    ([], []),
]


def build(**arguments):
    settings = dict(in_channels=[4, 4], out_channels=[4, 4], anchors=ANCHORS, strides=STRIDES)
    return YOLOv4Head(NUM_CLASSES, **{'scale_xy': SCALES, **settings, **arguments})


def truths():
    return [
        InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.double).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
        )
        for boxes, labels in IMAGES
    ]


def random_maps():
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            len(IMAGES), 2 * (5 + NUM_CLASSES), *size, generator=generator, dtype=torch.double
        )
        * 0.7
        for size in SIZES
    ]


def places(maps, image):
    """The outputs of an image by level, row, column and anchor, in mmdet's order."""
    size = 5 + NUM_CLASSES
    return {
        (level, row, column, anchor): maps[level][
            image, anchor * size : (anchor + 1) * size, row, column
        ].tolist()
        for level, (height, width) in enumerate(SIZES)
        for row in range(height)
        for column in range(width)
        for anchor in range(2)
    }


def predicted_box(outputs, level, row, column, anchor):
    scale, stride = SCALES[level], STRIDES[level]
    x, y = (scale * sigmoid(value) - (scale - 1) / 2 for value in outputs[:2])
    width, height = ANCHORS[level][anchor]
    return centre_box(
        (column + x) * stride,
        (row + y) * stride,
        width * math.exp(outputs[2]),
        height * math.exp(outputs[3]),
    )


def pairs(box):
    """The places that a true box belongs to."""
    width, height = box[2] - box[0], box[3] - box[1]
    shapes = {
        (level, anchor): iou(
            centre_box(0, 0, *ANCHORS[level][anchor]), centre_box(0, 0, width, height)
        )
        for level in range(2)
        for anchor in range(2)
    }
    best = max(shapes, key=shapes.get)
    for (level, anchor), overlap in shapes.items():
        if overlap > 0.213 or (level, anchor) == best:
            row = int((box[1] + box[3]) / 2 / STRIDES[level])
            column = int((box[0] + box[2]) / 2 / STRIDES[level])
            yield level, min(row, SIZES[level][0] - 1), min(column, SIZES[level][1] - 1), anchor


def ciou_loss(box, truth):
    overlap = iou(box, truth)
    width = max(box[2], truth[2]) - min(box[0], truth[0])
    height = max(box[3], truth[3]) - min(box[1], truth[1])
    distance = sum((box[i] + box[i + 2] - truth[i] - truth[i + 2]) ** 2 / 4 for i in (0, 1))
    angles = [math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (box, truth)]
    ratio = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    weight = ratio / (1 - overlap + ratio) if overlap > 0.5 else 0
    return 1 - overlap + distance / (width**2 + height**2) + weight * ratio


def cross_entropy(logit, target):
    probability = sigmoid(logit)
    return -target * math.log(probability) - (1 - target) * math.log(1 - probability)


def plain_losses(maps, smoothing):
    losses = dict(loss_bbox=0.0, loss_conf=0.0, loss_cls=0.0)
    for image, (boxes, labels) in enumerate(IMAGES):
        outputs_of = places(maps, image)
        classes_of = {}
        for box, label in zip(boxes, labels, strict=True):
            for place in pairs(box):
                classes_of.setdefault(place, set()).add(label)
                losses['loss_bbox'] += 0.07 * ciou_loss(
                    predicted_box(outputs_of[place], *place), box
                )
        for place, outputs in outputs_of.items():
            if place in classes_of:
                losses['loss_conf'] += cross_entropy(outputs[4], 1)
                for label, logit in enumerate(outputs[5:]):
                    target = 1 - smoothing / 2 if label in classes_of[place] else smoothing / 2
                    losses['loss_cls'] += cross_entropy(logit, target)
            elif all(iou(predicted_box(outputs, *place), box) <= 0.7 for box in boxes):
                losses['loss_conf'] += cross_entropy(outputs[4], 0)
    return {name: value / len(IMAGES) for name, value in losses.items()}


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_losses_equal_a_plain_computation(smoothing):
    maps = random_maps()
    # A box that is ignored: next to the cell of the last true box, but upon it.
    maps[0][0, [0, 1, 2, 3], 1, 1] = torch.tensor([4.0, -4.0, -0.07, 0.34], dtype=torch.double)
    losses = build(label_smoothing=smoothing).loss_by_feat(maps, truths(), [{}] * len(IMAGES))
    expected = plain_losses(maps, smoothing)
    actual = {name: value.item() for name, value in losses.items()}
    assert actual == pytest.approx(expected, rel=1e-5)
    outputs_of = places(maps, 0)
    ignored = [
        place
        for place, outputs in outputs_of.items()
        if iou(predicted_box(outputs, *place), IMAGES[0][0][2]) > 0.7
    ]
    assert set(ignored) - set(pairs(IMAGES[0][0][2]))


def test_anchors_of_true_boxes_are_those_of_a_plain_search():
    boxes = IMAGES[0][0]
    anchors, owners = build().assign(torch.tensor(boxes), SIZES)
    numbers = {place: number for number, place in enumerate(places(random_maps(), 0))}
    expected = {(numbers[place], owner) for owner, box in enumerate(boxes) for place in pairs(box)}
    assert set(zip(anchors.tolist(), owners.tolist(), strict=True)) == expected
    assert len(anchors) == len(expected) > len(boxes)


def test_boxes_and_scores_equal_a_plain_computation():
    maps = random_maps()
    boxes, scores = build().decode_predictions(maps)
    for image in range(len(IMAGES)):
        for index, (place, outputs) in enumerate(places(maps, image).items()):
            expected = predicted_box(outputs, *place)
            assert boxes[image, index].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
            expected = [sigmoid(outputs[4]) * sigmoid(value) for value in outputs[5:]]
            assert scores[image, index].tolist() == pytest.approx(expected)


def test_suppression_by_distance_iou():
    maps = [pred_map.float() for pred_map in random_maps()]
    metas = [dict(img_shape=(32, 48), scale_factor=(1.0, 1.0))] * len(IMAGES)
    settings = dict(score_thr=0.0, max_per_img=1000)
    detections = {
        kind: build(
            test_cfg=ConfigDict(nms=dict(type=kind, iou_threshold=0.3), **settings)
        ).predict_by_feat(maps, batch_img_metas=metas)[0]
        for kind in ('nms', 'diou_nms')
    }
    boxes, scores = build().decode_predictions(maps)
    limit = torch.tensor([48.0, 32, 48, 32])
    boxes = boxes[0].clamp(min=0).minimum(limit)
    kept = [len(diou_nms(boxes, scores[0, :, k], 0.3)[1]) for k in range(NUM_CLASSES)]
    assert len(detections['diou_nms']) == sum(kept) > len(detections['nms'])


def test_number_of_boxes_at_608_pixels():
    with torch.device('meta'):
        head = YOLOv4Head(80)
        features = [torch.zeros(1, w, s, s) for w, s in ((512, 19), (256, 38), (128, 76))]
        (maps,) = head(features)
    assert {pred_map.shape[1] for pred_map in maps} == {255}
    assert sum(3 * pred_map[0, 0].numel() for pred_map in maps) == 22_743


def test_levels_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r'one entry for each level, but have 2, 2, 2, 2 and 3'):
        build(scale_xy=[1.0, 1.0, 1.0])


def test_impossible_smoothing_is_refused():
    with pytest.raises(ValueError, match=r'label_smoothing must be in \[0, 1\), but is 1.5'):
        build(label_smoothing=1.5)
