import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

pytest.importorskip('mmdet')

from mmlayerwise.models.dense_heads import YOLOXNMSFreeHead
from mmlayerwise.models.dense_heads.yolox_nms_free_head import joint_logit

META = dict(img_shape=(64, 64), scale_factor=(1.0, 1.0))


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = YOLOXNMSFreeHead(
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        strides=(8, 16),
        train_cfg=ConfigDict(assigner=dict(type='mmdet.SimOTAAssigner')),
        test_cfg=ConfigDict(score_thr=0.0, max_per_img=5),
    )
    head.init_weights()
    return head


def features():
    torch.manual_seed(1)
    return (torch.randn(1, 8, 8, 8), torch.randn(1, 8, 4, 4))


def truth():
    boxes = torch.tensor([[4.0, 4, 40, 40], [30, 30, 60, 62]])
    return [InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))]


def test_the_product_of_probabilities_keeps_its_digits():
    a, b = torch.tensor([0.3, -40.0, 40.0]), torch.tensor([-1.2, -40.0, 50.0])
    p = a.double().sigmoid() * b.double().sigmoid()
    expected = [float((p[0] / (1 - p[0])).log()), -80.0, 40.0]
    assert joint_logit(a, b).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_selection_learns_alone_from_its_loss(head):
    loss = head.loss_by_feat(*head(features()), truth(), [META])['loss_selector']
    loss.backward()
    trained = {name for name, one in head.named_parameters() if one.grad is not None}
    assert trained == {name for name, _ in head.named_parameters() if 'selector' in name}


def test_the_loss_is_focal_on_the_one_to_one_assignment(head):
    outputs = head(features())
    measured = head.loss_by_feat(*outputs, truth(), [META])['loss_selector']
    outputs = [[level.double() for level in maps] for maps in outputs]
    cls, boxes, objectness, selection = (
        torch.cat([level[0].flatten(1).T for level in maps]) for maps in outputs
    )
    priors = torch.cat(
        head.prior_generator.grid_priors(
            [(8, 8), (4, 4)], dtype=torch.float64, device='cpu', with_stride=True
        )
    )
    p = cls.sigmoid() * objectness.sigmoid() * selection.sigmoid()
    middles = torch.cat([priors[:, :2] + priors[:, 2:] / 2, priors[:, 2:]], 1)
    result = head.selector_assigner.assign(
        InstanceData(
            priors=middles, bboxes=head._bbox_decode(priors, boxes).detach(), scores=p.detach()
        ),
        truth()[0],
    )
    assert (result.gt_inds > 0).sum() == 2
    total = 0.0
    for row in range(len(p)):
        for k in range(3):
            q = float(p[row, k])
            if result.labels[row] == k:
                total += -0.25 * (1 - q) ** 2 * math.log(q)
            else:
                total += -0.75 * q**2 * math.log1p(-q)
    assert float(measured) == pytest.approx(total / 2, rel=1e-4)


def test_images_without_objects_have_a_loss(head):
    nothing = [InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))]
    losses = head.loss_by_feat(*head(features()), nothing, [META])
    assert torch.isfinite(losses['loss_selector'])


def test_the_best_boxes_come_without_suppression(head):
    outputs = head(features())
    # All cells predict nearly the same box: suppression would leave one.
    for maps in outputs[1]:
        maps.data.zero_()
    (result,) = head.predict_by_feat(*outputs, batch_img_metas=[META])
    assert len(result) == 5
    assert result.scores.tolist() == sorted(result.scores.tolist(), reverse=True)
    scores = [
        (c.sigmoid().amax(1) * o.sigmoid()[:, 0] * s.sigmoid()[:, 0]).flatten()
        for c, o, s in zip(outputs[0], outputs[2], outputs[3], strict=True)
    ]
    best = torch.cat(scores).sort(descending=True).values[:5]
    assert result.scores.tolist() == pytest.approx(best.tolist(), rel=1e-5)
