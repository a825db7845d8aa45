"""YOLOv2's head against the region layer in plain loops over places and boxes."""

import math

import pytest
import torch

pytest.importorskip('mmdet')

from mmengine import ConfigDict
from mmengine.structures import InstanceData

from mmlayerwise.models.dense_heads import YOLOv2Head
from tests.test_models.test_dense_heads.boxes import centre_box, iou, sigmoid, softmax

ANCHORS = [(0.6, 0.7), (1.5, 2.5)]
NUM_CLASSES = 3
HEIGHT, WIDTH, STRIDE = 3, 4, 8
IMAGES = [
    # Of the first two boxes, in one cell and of one shape, the second stays.
    ([[9.0, 9, 14, 14], [9.5, 8.5, 14, 15], [3, 2, 18, 22]], [0, 2, 1]),
    ([], []),
    ([[20.0, 1, 32, 24]], [1]),
]


def build(**arguments):
    head = YOLOv2Head(
        NUM_CLASSES, in_channels=8, feat_channels=8, anchors=ANCHORS, stride=STRIDE, **arguments
    )
    return head.double()


def truths():
    return [
        InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.double).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
        )
        for boxes, labels in IMAGES
    ]


def random_map():
    generator = torch.Generator().manual_seed(3)
    shape = (len(IMAGES), len(ANCHORS) * (5 + NUM_CLASSES), HEIGHT, WIDTH)
    return torch.randn(shape, generator=generator, dtype=torch.double)


def predicted_box(outputs, row, column, anchor):
    x, y, w, h = outputs[:4]
    return centre_box(
        (column + sigmoid(x)) * STRIDE,
        (row + sigmoid(y)) * STRIDE,
        ANCHORS[anchor][0] * STRIDE * math.exp(w),
        ANCHORS[anchor][1] * STRIDE * math.exp(h),
    )


def places(pred_map):
    """Of every image, the outputs by row, column and anchor."""
    size = 5 + NUM_CLASSES
    for image in pred_map.tolist():
        yield {
            (row, column, anchor): [
                image[anchor * size + entry][row][column] for entry in range(size)
            ]
            for row in range(HEIGHT)
            for column in range(WIDTH)
            for anchor in range(len(ANCHORS))
        }


def region_deltas(pred_map, draw_to_anchors):
    """What darknet's region layer adds to its outputs: minus the gradient of its loss."""
    deltas = torch.zeros_like(pred_map)
    size = 5 + NUM_CLASSES
    for image, (outputs_of, (boxes, labels)) in enumerate(
        zip(places(pred_map), IMAGES, strict=True)
    ):
        of_place = {}

        def pull(place, target, scale, outputs_of=outputs_of):
            outputs = outputs_of[place]
            x, y = sigmoid(outputs[0]), sigmoid(outputs[1])
            return [
                scale * (target[0] - x) * x * (1 - x),
                scale * (target[1] - y) * y * (1 - y),
                scale * (target[2] - outputs[2]),
                scale * (target[3] - outputs[3]),
            ]

        for place, outputs in outputs_of.items():
            delta = [0.0] * size
            objectness = sigmoid(outputs[4])
            best = max((iou(predicted_box(outputs, *place), box) for box in boxes), default=0)
            if best <= 0.6:
                delta[4] = -objectness * objectness * (1 - objectness)
            if draw_to_anchors:
                delta[:4] = pull(place, (0.5, 0.5, 0, 0), 0.01)
            of_place[place] = delta
        for box, label in zip(boxes, labels, strict=True):
            centre = (box[0] + box[2]) / 2 / STRIDE, (box[1] + box[3]) / 2 / STRIDE
            w, h = (box[2] - box[0]) / STRIDE, (box[3] - box[1]) / STRIDE
            row, column = int(centre[1]), int(centre[0])
            shapes = [iou(centre_box(0, 0, *a), centre_box(0, 0, w, h)) for a in ANCHORS]
            anchor = shapes.index(max(shapes))
            place = row, column, anchor
            outputs = outputs_of[place]
            target = (
                centre[0] - column,
                centre[1] - row,
                math.log(w / ANCHORS[anchor][0]),
                math.log(h / ANCHORS[anchor][1]),
            )
            objectness = sigmoid(outputs[4])
            error = iou(predicted_box(outputs, *place), box) - objectness
            of_place[place] = [
                *pull(place, target, 2 - w * h / (WIDTH * HEIGHT)),
                5 * error * objectness * (1 - objectness),
                *[(k == label) - p for k, p in enumerate(softmax(outputs[5:]))],
            ]
        for (row, column, anchor), delta in of_place.items():
            deltas[image, anchor * size : (anchor + 1) * size, row, column] = torch.tensor(
                delta, dtype=deltas.dtype
            )
    return deltas


@pytest.mark.parametrize('draw_to_anchors', [True, False])
def test_gradient_of_the_loss_is_darknets(draw_to_anchors):
    head = build(prior_images=1000 if draw_to_anchors else 0)
    pred_map = random_map().requires_grad_()
    losses = head.loss_by_feat((pred_map,), truths(), [{}] * len(IMAGES))
    sum(losses.values()).backward()
    expected = -region_deltas(pred_map.detach(), draw_to_anchors) / len(IMAGES)
    torch.testing.assert_close(pred_map.grad, expected, rtol=1e-6, atol=1e-9)


def test_the_first_images_alone_draw_boxes_to_the_anchors():
    head = build(prior_images=len(IMAGES) + 1)
    losses = [
        head.loss_by_feat((random_map(),), truths(), [{}] * len(IMAGES))['loss_bbox']
        for _ in range(3)
    ]
    assert losses[0] == losses[1] > losses[2]
    assert head.images_seen == 3 * len(IMAGES)


def test_boxes_and_scores_equal_a_plain_computation():
    pred_map = random_map()
    boxes, scores = build().decode_predictions((pred_map,))
    assert boxes.shape == (len(IMAGES), HEIGHT * WIDTH * len(ANCHORS), 4)
    for image, outputs_of in enumerate(places(pred_map)):
        for index, (place, outputs) in enumerate(outputs_of.items()):
            expected = predicted_box(outputs, *place)
            assert boxes[image, index].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
            expected = [sigmoid(outputs[4]) * p for p in softmax(outputs[5:])]
            assert scores[image, index].tolist() == pytest.approx(expected)


def test_detections_end_at_the_border_of_the_image():
    test_cfg = ConfigDict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=50)
    head = build(test_cfg=test_cfg)
    metas = [dict(img_shape=(20, 30), scale_factor=(2.0, 2.0))] * len(IMAGES)
    detections = head.predict_by_feat((random_map().float(),), batch_img_metas=metas, rescale=True)
    boxes = torch.cat([d.bboxes for d in detections])
    assert boxes.min() == 0
    assert boxes[:, 0::2].max() == 15
    assert boxes[:, 1::2].max() == 10


@pytest.mark.parametrize(
    ('num_classes', 'size', 'boxes', 'channels'), [(80, 13, 845, 425), (20, 11, 605, 125)]
)
def test_number_of_boxes_at_the_papers_sizes(num_classes, size, boxes, channels):
    head = YOLOv2Head(num_classes).eval()
    with torch.no_grad():
        (maps,) = head((torch.zeros(1, 1280, size, size),))
    assert maps[0].shape == (1, channels, size, size)
    assert head.decode_predictions(maps)[0].shape == (1, boxes, 4)


@pytest.mark.parametrize('anchors', [[], [(1.0, 0.0)], [(1.0, 2.0, 3.0)]])
def test_anchors_that_are_none_are_refused(anchors):
    with pytest.raises(ValueError, match='pairs of positive width and height in cells'):
        YOLOv2Head(2, anchors=anchors)
