import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

pytest.importorskip('mmseg')


def member(seed: int, num_classes: int = 3) -> dict:
    return dict(
        type='EncoderDecoder',
        backbone=dict(
            type='mmlayerwise.SegmentationVGG',
            widen_factor=1 / 32,
            fc_channels=(),
            out_indices=(2,),
            init_cfg=dict(type='Normal', layer='Conv2d', std=0.1 * (seed + 1)),
        ),
        decode_head=dict(
            type='mmlayerwise.ParseNetHead',
            in_channels=8,
            num_classes=num_classes,
            in_index=0,
        ),
        train_cfg=dict(),
        test_cfg=ConfigDict(mode='whole'),
    )


def build(*segmentors: dict) -> torch.nn.Module:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(dict(type='mmlayerwise.SegmentorEnsemble', segmentors=segmentors))
        model.init_weights()
    return model.eval()


@torch.no_grad()
def test_probabilities_are_averaged():
    model = build(member(0), member(1))
    image = torch.randn(2, 3, 32, 40)
    (first, second) = (
        torch.stack([sample.seg_logits.data for sample in one.predict(image)]).double().exp()
        for one in model.segmentors
    )
    expected = (first / first.sum(1, keepdim=True) + second / second.sum(1, keepdim=True)) / 2
    predictions = model.predict(image)
    actual = torch.stack([sample.seg_logits.data for sample in predictions])
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)
    labels = torch.stack([sample.pred_sem_seg.data[0] for sample in predictions])
    assert torch.equal(labels, expected.argmax(1))


def test_members_load_their_own_checkpoints(tmp_path):
    single = build(member(1)).segmentors[0]
    torch.save(single.state_dict(), tmp_path / 'one.pth')
    loaded = dict(type='Pretrained', checkpoint=str(tmp_path / 'one.pth'))
    model = build({**member(0), 'init_cfg': loaded}, member(0))
    for key, value in single.state_dict().items():
        assert torch.equal(model.segmentors[0].state_dict()[key], value)


def test_members_of_other_classes_and_training_are_refused():
    with pytest.raises(UserError, match=r'same classes, not of \[3, 4\]'):
        build(member(0), member(0, num_classes=4))
    with pytest.raises(UserError, match='is not trained; train its members'):
        build(member(0)).loss(torch.zeros(1), [])
