import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

pytest.importorskip('mmdet')

from mmdet.models.dense_heads import CenterNetHead

from mmlayerwise.models.dense_heads import CenterNetStackedHead

META = dict(batch_input_shape=(64, 64), img_shape=(64, 64), border=(0, 64, 0, 64))
TEST = ConfigDict(topk=10, local_maximum_kernel=3, max_per_img=10)


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = CenterNetStackedHead(
        num_stacks=2, in_channels=8, feat_channels=8, num_classes=3, test_cfg=TEST
    )
    head.init_weights()
    return head


@pytest.fixture
def features():
    torch.manual_seed(1)
    return torch.randn(1, 8, 16, 16), torch.randn(1, 8, 16, 16)


def truth():
    return [
        InstanceData(bboxes=torch.tensor([[8.0, 8, 40, 32]]), labels=torch.tensor([1])),
    ]


def test_losses_are_the_mean_over_stacks_with_weights_of_their_own(head, features):
    losses = head.loss_by_feat(*head(features), truth(), [META])
    single = [
        stack.loss_by_feat(*stack((one,)), truth(), [META])
        for stack, one in zip(head.stacks, features, strict=True)
    ]
    for name, value in losses.items():
        assert float(value) == pytest.approx(float(single[0][name] + single[1][name]) / 2)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_the_heatmap_loss_is_that_of_the_paper(head, features):
    """Equation 1, with the target of the stock head."""
    heatmaps = head(features)[0]
    measured = head.loss_by_feat(*head(features), truth(), [META])['loss_center_heatmap']
    box = truth()[0]
    target = (
        head.stacks[0]
        .get_targets([box.bboxes], [box.labels], heatmaps[0].shape, META['batch_input_shape'])[0][
            'center_heatmap_target'
        ]
        .double()
    )
    assert (target == 1).sum() == 1
    total = 0.0
    for heatmap in heatmaps:
        p = heatmap.detach().double()
        at_peak = (1 - p) ** 2 * p.log()
        elsewhere = (1 - target) ** 4 * p**2 * (1 - p).log()
        total -= float(torch.where(target == 1, at_peak, elsewhere).sum())
    assert float(measured) == pytest.approx(total / 2, rel=1e-5)


def test_the_last_stack_predicts(head, features):
    (result,) = head.predict_by_feat(*head(features), batch_img_metas=[META], rescale=False)
    alone: CenterNetHead = head.stacks[-1]
    (expected,) = alone.predict_by_feat(
        *alone(features[-1:]), batch_img_metas=[META], rescale=False
    )
    assert torch.equal(result.bboxes, expected.bboxes)
    assert torch.equal(result.scores, expected.scores)
