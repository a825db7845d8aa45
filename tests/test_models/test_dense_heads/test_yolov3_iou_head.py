import math

import pytest
import torch

pytest.importorskip('mmdet')

from mmengine import ConfigDict
from mmengine.structures import InstanceData

from mmlayerwise.models.dense_heads import YOLOV3DecoupledHead, YOLOV3IoUHead

NUM_CLASSES = 3
ANCHORS = [[(40.0, 40.0)], [(16.0, 16.0)]]
STRIDES = [32, 16]
SIZES = [2, 4]


def build(head, **arguments):
    settings = dict(
        num_classes=NUM_CLASSES,
        in_channels=[8, 8],
        anchor_generator=dict(
            type='mmdet.YOLOAnchorGenerator', base_sizes=ANCHORS, strides=STRIDES
        ),
        bbox_coder=dict(type='mmdet.YOLOBBoxCoder'),
        featmap_strides=STRIDES,
        train_cfg=ConfigDict(
            assigner=dict(
                type='mmdet.GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0
            )
        ),
    )
    return head(**{**settings, **arguments})


def cross_entropy(logit, target):
    return -math.log(1 / (1 + math.exp(-logit if target else logit)))


def test_losses_of_one_box_equal_a_plain_computation():
    """The box (17, 18, 31, 34) has its centre (24, 26) in cell (1, 1) of the finer level."""
    head = build(YOLOV3IoUHead, out_channels=[8, 8])
    torch.manual_seed(0)
    maps = [torch.randn(1, 5 + NUM_CLASSES, size, size) for size in SIZES]
    truth = InstanceData(bboxes=torch.tensor([[17.0, 18, 31, 34]]), labels=torch.tensor([2]))
    losses = head.loss_by_feat(tuple(maps), [truth], [{}])

    x, y, w, h, objectness, *classes = maps[1][0, :, 1, 1].double().tolist()
    sigmoid = [1 / (1 + math.exp(-value)) for value in (x, y)]
    centre = [16 * (1 + value) for value in sigmoid]
    width, height = 16 * math.exp(w), 16 * math.exp(h)
    box = (
        centre[0] - width / 2,
        centre[1] - height / 2,
        centre[0] + width / 2,
        centre[1] + height / 2,
    )
    overlap = max(0, min(box[2], 31) - max(box[0], 17)) * max(0, min(box[3], 34) - max(box[1], 18))
    iou = overlap / (width * height + 14 * 16 - overlap)
    assert losses['loss_bbox'].item() == pytest.approx(5 * (1 - iou**2), rel=1e-4)

    expected = sum(cross_entropy(logit, k == 2) for k, logit in enumerate(classes))
    assert losses['loss_cls'].item() == pytest.approx(expected, rel=1e-5)

    logits = torch.cat([level[0, 4].flatten() for level in maps]).tolist()
    positive = SIZES[0] ** 2 + 1 * SIZES[1] + 1
    assert logits[positive] == pytest.approx(objectness)
    expected = sum(cross_entropy(logit, k == positive) for k, logit in enumerate(logits))
    assert losses['loss_conf'].item() == pytest.approx(expected, rel=1e-5)


def test_image_without_objects_trains_objectness_alone():
    head = build(YOLOV3IoUHead, out_channels=[8, 8])
    maps = tuple(torch.zeros(1, 5 + NUM_CLASSES, size, size, requires_grad=True) for size in SIZES)
    truth = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    losses = head.loss_by_feat(maps, [truth], [{}])
    assert losses['loss_cls'].item() == losses['loss_bbox'].item() == 0
    assert losses['loss_conf'].item() == pytest.approx(20 * math.log(2))
    sum(losses.values()).backward()
    assert all(level.grad[:, 4].ne(0).all() for level in maps)


def test_decoupled_head_has_the_published_size():
    with torch.device('meta'):
        head = YOLOV3DecoupledHead(80, [256] * 3)
    branches = 3 * 4 * (3 * 3 * 256 * 256 + 2 * 256)
    outputs = 3 * 3 * 85 * (256 + 1)
    assert sum(p.numel() for p in head.parameters()) == branches + outputs


def test_decoupled_head_orders_its_outputs_by_anchor():
    head = build(
        YOLOV3DecoupledHead,
        feat_channels=8,
        anchor_generator=dict(
            type='mmdet.YOLOAnchorGenerator',
            base_sizes=[[(40.0, 40.0), (20.0, 20.0)], [(16.0, 16.0), (8.0, 8.0)]],
            strides=STRIDES,
        ),
    ).eval()
    features = tuple(torch.randn(1, 8, size, size) for size in SIZES)
    (levels,) = head(features)
    for level, (feature, output) in enumerate(zip(features, levels, strict=True)):
        boxes = head.conv_reg[level](head.reg_convs[level](feature))
        objectness = head.conv_obj[level](head.reg_convs[level](feature))
        classes = head.conv_cls[level](head.cls_convs[level](feature))
        assert output.shape == (1, 2 * (5 + NUM_CLASSES), *feature.shape[2:])
        for anchor, mine in enumerate(output.chunk(2, 1)):
            torch.testing.assert_close(mine[:, :4], boxes[:, 4 * anchor : 4 * anchor + 4])
            torch.testing.assert_close(mine[:, 4], objectness[:, anchor])
            torch.testing.assert_close(mine[:, 5:], classes.chunk(2, 1)[anchor])


def test_decoupled_head_starts_with_unlikely_objects():
    head = build(YOLOV3DecoupledHead, feat_channels=8)
    head.init_weights()
    for conv in (*head.conv_cls, *head.conv_obj):
        torch.testing.assert_close(conv.bias.sigmoid(), torch.full_like(conv.bias, 0.01))
