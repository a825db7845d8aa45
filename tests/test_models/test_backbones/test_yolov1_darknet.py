import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.registry import DefaultScope

from mmlayerwise.models.backbones import YOLOv1Darknet
from mmlayerwise.models.classifiers import ImageClassifier


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_has_24_convolutions_of_the_published_size():
    with torch.device('meta'):
        plain, normalised = YOLOv1Darknet(), YOLOv1Darknet(norm_cfg=dict(type='BN'))
    convs = [m for m in plain.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convs) == 24
    assert parameters(plain) == 60_155_968
    # A scale and a shift in place of a bias.
    assert parameters(normalised) - parameters(plain) == sum(c.out_channels for c in convs)


def test_stages_halve_the_map():
    with torch.device('meta'):
        backbone = YOLOv1Darknet(out_indices=(0, 1, 2, 3, 4, 5))
        shapes = [tuple(x.shape[1:]) for x in backbone(torch.zeros(1, 3, 128, 64))]
    assert shapes == [
        (64, 64, 32),
        (192, 32, 16),
        (512, 16, 8),
        (1024, 8, 4),
        (1024, 4, 2),
        (1024, 2, 1),
    ]


def test_first_20_convolutions_are_a_classifier():
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmlayerwise'):
        model = ImageClassifier(
            backbone=dict(type='YOLOv1Darknet', out_indices=(4,)),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=1000, in_channels=1024),
        )
        logits = model(torch.zeros(1, 3, 224, 224))
    assert logits.shape == (1, 1000)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in model.modules()) == 20


@pytest.mark.parametrize('out_indices', [(), (6,), (-1,)])
def test_unknown_stage_is_refused(out_indices):
    with pytest.raises(ValueError, match='out_indices must be among 0 to 5'):
        YOLOv1Darknet(out_indices=out_indices)
