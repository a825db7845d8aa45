import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

pytest.importorskip('mmdet')

from mmdet.structures.bbox import bbox_overlaps
from mmengine.registry import DefaultScope

from mmlayerwise.models.dense_heads import EfficientDetSepBNHead

STRIDES = (8, 16)
META = dict(img_shape=(32, 32), pad_shape=(32, 32))


@pytest.fixture
def head():
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = EfficientDetSepBNHead(
            num_classes=3,
            num_ins=2,
            in_channels=4,
            stacked_convs=2,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=1,
                scales_per_octave=3,
                ratios=[1.0, 0.5, 2.0],
                scale_major=False,
                strides=STRIDES,
                center_offset=0.5,
            ),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=1.5, alpha=0.25),
            loss_bbox=dict(type='mmlayerwise.HuberLoss', delta=0.1, loss_weight=50.0),
            train_cfg=ConfigDict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0
                ),
                sampler=dict(type='PseudoSampler'),
                allowed_border=-1,
                pos_weight=-1,
            ),
        )
    head.init_weights()
    return head


def features():
    torch.manual_seed(1)
    return [torch.randn(2, 4, 32 // stride, 32 // stride) for stride in STRIDES]


def test_levels_share_convolutions_but_not_normalisations(head):
    for branch in (head.cls_branch, head.reg_branch):
        for norms in branch.norms:
            for norm in norms:
                torch.nn.init.uniform_(norm.weight)
    x = features()[1]
    outputs = head.eval()((x, x))
    for branch, (fine, coarse) in zip((head.cls_branch, head.reg_branch), outputs, strict=True):
        assert not torch.equal(fine, coarse)
        for norms, output in zip(branch.norms, (fine, coarse), strict=True):
            expected = x
            for conv, norm in zip(branch.convs, norms, strict=True):
                expected = norm(conv.pointwise(conv.depthwise(expected)))
                expected = expected * expected.sigmoid()
            torch.testing.assert_close(
                output, branch.predict.pointwise(branch.predict.depthwise(expected))
            )


def test_every_class_starts_with_a_probability_of_one_hundredth(head):
    bias = head.cls_branch.predict.pointwise.bias
    torch.testing.assert_close(bias.sigmoid(), torch.full_like(bias, 0.01))
    assert head.reg_branch.predict.pointwise.bias.eq(0).all()


def anchors_by_hand():
    """Centre and size: by row, column, then scale, then square, wide and tall."""
    anchors = []
    for stride in STRIDES:
        for row in range(32 // stride):
            for column in range(32 // stride):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                for octave in range(3):
                    side = stride * 2 ** (octave / 3)
                    for aspect in (1, 2, 0.5):  # width to height
                        anchors.append((x, y, side * aspect**0.5, side / aspect**0.5))
    return anchors


def test_losses_are_those_of_the_paper(head):
    """Focal loss over positives; Huber loss over their coordinates; plain loops in float64."""
    truths = [
        InstanceData(
            bboxes=torch.tensor([[3.0, 2, 20, 18], [16, 16, 26, 25]]), labels=torch.tensor([2, 0])
        ),
        InstanceData(bboxes=torch.tensor([[0.0, 8, 30, 24]]), labels=torch.tensor([1])),
    ]
    outputs = head(features())
    losses = head.loss_by_feat(*outputs, truths, [META, META])
    anchors = anchors_by_hand()
    corners = torch.tensor(
        [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in anchors]
    ).double()
    focal = box = 0.0
    num_positives = 0
    for image, truth in enumerate(truths):
        logits, deltas = (
            torch.cat(
                [
                    level[image].permute(1, 2, 0).reshape(-1, size).detach().double()
                    for level in levels
                ]
            )
            for levels, size in zip(outputs, (3, 4), strict=True)
        )
        overlaps = bbox_overlaps(truth.bboxes.double(), corners)
        for place, (x, y, w, h) in enumerate(anchors):
            best = int(overlaps[:, place].argmax())
            owner = best if overlaps[best, place] >= 0.5 else None
            for index in range(len(truth)):
                if overlaps[index, place] == overlaps[index].max():
                    owner = index
            for label in range(3):
                p = 1 / (1 + math.exp(-logits[place, label]))
                if owner is not None and truth.labels[owner] == label:
                    focal -= 0.25 * (1 - p) ** 1.5 * math.log(p)
                else:
                    focal -= 0.75 * p**1.5 * math.log(1 - p)
            if owner is None:
                continue
            num_positives += 1
            x1, y1, x2, y2 = truth.bboxes[owner].tolist()
            target = (
                ((x1 + x2) / 2 - x) / w,
                ((y1 + y2) / 2 - y) / h,
                math.log((x2 - x1) / w),
                math.log((y2 - y1) / h),
            )
            for predicted, wanted in zip(deltas[place].tolist(), target, strict=True):
                error = abs(predicted - wanted)
                box += error**2 / 2 if error <= 0.1 else 0.1 * (error - 0.05)
    assert num_positives > 3
    total_cls = sum(losses['loss_cls']).item()
    total_box = sum(losses['loss_bbox']).item()
    assert total_cls == pytest.approx(focal / num_positives, rel=1e-5)
    assert total_box == pytest.approx(50 * box / (4 * num_positives), rel=1e-5)
