"""YOLO's first head against equation 3 of its paper in plain loops over cells and predictors."""

import math

import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.structures import InstanceData

from mmlayerwise.models.dense_heads import YOLOv1Head
from tests.test_models.test_dense_heads.boxes import centre_box, iou

SIDE, STRIDE, NUM_CLASSES, PREDICTORS = 3, 10, 2, 2
SIZE = SIDE * STRIDE
IMAGES = [
    # Of the first two boxes, in one cell, the first stays; no prediction overlaps the last.
    ([[11.0, 12, 17, 19], [10, 10, 20, 18], [28, 1, 29, 2]], [0, 1, 1]),
    ([], []),
    ([[0.0, 3, 29, 30]], [1]),
]


def build(**arguments):
    settings = dict(in_channels=4, fc_channels=6, grid_size=SIDE, stride=STRIDE)
    return YOLOv1Head(NUM_CLASSES, **{**settings, **arguments})


def truths():
    return [
        InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.double).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
        )
        for boxes, labels in IMAGES
    ]


def random_outputs():
    generator = torch.Generator().manual_seed(1)
    shapes = [(NUM_CLASSES,), (PREDICTORS,), (PREDICTORS, 4)]
    outputs = [
        torch.rand(len(IMAGES), SIDE**2, *shape, generator=generator, dtype=torch.double)
        for shape in shapes
    ]
    outputs[2][:, 2] *= 0.05  # small boxes in the upper right cell
    return outputs


def predicted_box(cell, coordinates):
    x, y, w, h = coordinates
    row, column = divmod(cell, SIDE)
    return centre_box((column + x) * STRIDE, (row + y) * STRIDE, w * w * SIZE, h * h * SIZE)


def paper_losses(classes, objectness, coordinates):
    losses = dict(loss_bbox=0.0, loss_obj=0.0, loss_cls=0.0)
    for image, (boxes, labels) in enumerate(IMAGES):
        responsible = {}
        for box, label in zip(boxes, labels, strict=True):
            x, y = (box[0] + box[2]) / 2 / STRIDE, (box[1] + box[3]) / 2 / STRIDE
            cell = int(y) * SIDE + int(x)
            if cell in responsible:
                continue
            target = (
                x - int(x),
                y - int(y),
                math.sqrt((box[2] - box[0]) / SIZE),
                math.sqrt((box[3] - box[1]) / SIZE),
            )
            candidates = coordinates[image][cell]
            overlaps = [iou(predicted_box(cell, c), box) for c in candidates]
            distances = [
                math.hypot(
                    (c[0] - target[0]) / SIDE,
                    (c[1] - target[1]) / SIDE,
                    c[2] ** 2 - target[2] ** 2,
                    c[3] ** 2 - target[3] ** 2,
                )
                for c in candidates
            ]
            best = max(range(PREDICTORS), key=lambda j: (overlaps[j], -distances[j]))
            responsible[cell] = best
            errors = [p - t for p, t in zip(candidates[best], target, strict=True)]
            losses['loss_bbox'] += 5 * sum(e * e for e in errors)
            losses['loss_obj'] += (objectness[image][cell][best] - overlaps[best]) ** 2
            losses['loss_cls'] += sum(
                (p - (k == label)) ** 2 for k, p in enumerate(classes[image][cell])
            )
        for cell in range(SIDE**2):
            for predictor in range(PREDICTORS):
                if responsible.get(cell) != predictor:
                    losses['loss_obj'] += 0.5 * objectness[image][cell][predictor] ** 2
    return {name: value / len(IMAGES) for name, value in losses.items()}


def test_loss_is_the_papers():
    outputs = random_outputs()
    losses = build().loss_by_feat(*outputs, truths(), [{}] * len(IMAGES))
    expected = paper_losses(*[output.tolist() for output in outputs])
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected)
    # The reference saw both ways of choosing the responsible predictor.
    box = IMAGES[0][0][2]
    assert all(iou(predicted_box(2, c), box) == 0 for c in outputs[2][0, 2].tolist())


def test_overlap_as_a_target_has_no_gradient():
    outputs = [output.requires_grad_() for output in random_outputs()]
    losses = build().loss_by_feat(*outputs, truths(), [{}] * len(IMAGES))
    losses['loss_obj'].backward()
    assert outputs[1].grad.ne(0).all()
    assert outputs[2].grad is None


def test_boxes_and_scores_equal_a_plain_computation():
    classes, objectness, coordinates = random_outputs()
    classes[0, 0, 0], classes[0, 1, 0] = 30, -1
    boxes, scores = build().decode_predictions(classes, objectness, coordinates)
    assert boxes.shape == (len(IMAGES), SIDE**2 * PREDICTORS, 4)
    for image in range(len(IMAGES)):
        for cell in range(SIDE**2):
            for predictor in range(PREDICTORS):
                index = cell * PREDICTORS + predictor
                expected = predicted_box(cell, coordinates[image, cell, predictor].tolist())
                assert boxes[image, index].tolist() == pytest.approx(expected)
                products = classes[image, cell] * objectness[image, cell, predictor]
                expected = [min(max(p, 0), 1) for p in products.tolist()]
                assert scores[image, index].tolist() == pytest.approx(expected)


def test_output_is_in_darknets_order():
    head = build(in_channels=1).eval()
    count = SIDE**2 * (NUM_CLASSES + 5 * PREDICTORS)
    head.fc.weight.data.zero_()
    head.fc.bias.data.copy_(torch.arange(count))
    classes, objectness, coordinates = head((torch.zeros(1, 1, SIDE, SIDE),))
    flat = torch.cat([classes.flatten(), objectness.flatten(), coordinates.flatten()])
    assert flat.tolist() == list(range(count))
    assert classes[0, 1].tolist() == [2, 3]
    assert objectness[0, 1].tolist() == [18 + 2, 18 + 3]
    assert coordinates[0, 0, 1].tolist() == [36 + 4, 36 + 5, 36 + 6, 36 + 7]


def test_full_size_gives_98_boxes_of_20_classes():
    with torch.device('meta'):
        head = YOLOv1Head(20)
        outputs = head((torch.zeros(1, 1024, 7, 7),))
    assert [tuple(o.shape) for o in outputs] == [(1, 49, 20), (1, 49, 2), (1, 49, 2, 4)]
    assert sum(o.numel() for o in outputs) == 7 * 7 * 30
    assert sum(p.numel() for p in head.parameters()) == 271_703_550 - 60_155_968


def test_darknets_layout_has_1715_outputs():
    with torch.device('meta'):
        head = YOLOv1Head(20, fc_channels=None, local_channels=256, num_predictors=3)
    assert head.fc.out_features == 1715
    assert head.fc.in_features == 7 * 7 * 256


def test_other_grid_is_refused():
    message = 'weights for a grid of 3x3, but the feature map is .*; resize the images to 30x30'
    with pytest.raises(ValueError, match=message):
        build()((torch.zeros(1, 4, 3, 4),))


@pytest.mark.parametrize('widths', [(None, None), (8, 8)])
def test_two_hidden_layers_or_none_are_refused(widths):
    with pytest.raises(ValueError, match='either fc_channels'):
        YOLOv1Head(2, fc_channels=widths[0], local_channels=widths[1])
