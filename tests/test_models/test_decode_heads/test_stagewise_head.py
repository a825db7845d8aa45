import pytest
import torch
from mmengine.structures import PixelData
from torch.nn import functional as F

from mmlayerwise.utils.errors import UserError

pytest.importorskip('mmseg')
from mmseg.structures import SegDataSample

from mmlayerwise.models.decode_heads.stagewise_head import StagewiseHead


class PixelHead(StagewiseHead):
    """Scores of the first stage are its map, those of the second the negative of its."""

    def stage_scores(self, inputs):
        first, second = self._transform_inputs(inputs)
        return first, -second


def head(**kwargs) -> PixelHead:
    loss = dict(type='mmseg.CrossEntropyLoss')
    return PixelHead([3, 3], 3, num_classes=3, loss_decode=loss, **kwargs)


def batch() -> tuple[list[torch.Tensor], list[SegDataSample], torch.Tensor]:
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, 4, 6), torch.randn(2, 3, 8, 12)]
    labels = torch.randint(3, (2, 8, 12))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in labels]
    return maps, samples, labels


def test_every_stage_is_compared_with_the_labels():
    maps, samples, labels = batch()
    losses = head(stage_weights=(0.5, 2.0)).loss(maps, samples, {})
    assert set(losses) == {'stage0.loss_ce', 'stage0.acc_seg', 'loss_ce', 'acc_seg'}
    first = F.interpolate(maps[0], (8, 12), mode='bilinear', align_corners=False)
    torch.testing.assert_close(losses['stage0.loss_ce'], 0.5 * F.cross_entropy(first, labels))
    torch.testing.assert_close(losses['loss_ce'], 2 * F.cross_entropy(-maps[1], labels))
    # Accuracies are not weighted.
    correct = (-maps[1]).argmax(1) == labels
    torch.testing.assert_close(losses['acc_seg'].squeeze(), 100 * correct.float().mean())


def test_last_stage_predicts():
    maps, _, _ = batch()
    assert torch.equal(head()(maps), -maps[1])


def test_wrong_number_of_weights_is_refused():
    maps, samples, _ = batch()
    with pytest.raises(UserError, match=r'PixelHead: .* of 2 stages, not \[1.0\]'):
        head(stage_weights=[1.0]).loss(maps, samples, {})
