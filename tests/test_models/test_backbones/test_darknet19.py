import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.registry import DefaultScope

from mmlayerwise.models.backbones import Darknet19
from mmlayerwise.models.classifiers import ImageClassifier


def test_classifier_has_the_published_size():
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmlayerwise'):
        model = ImageClassifier(
            backbone=dict(type='Darknet19', out_indices=(5,)),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=1000, in_channels=1024),
        )
    assert sum(p.numel() for p in model.parameters()) == 20_842_376


def test_stages_halve_the_map():
    with torch.device('meta'):
        backbone = Darknet19(out_indices=(0, 1, 2, 3, 4, 5))
        shapes = [tuple(x.shape[1:]) for x in backbone(torch.zeros(1, 3, 64, 96))]
    assert shapes == [
        (32, 64, 96),
        (64, 32, 48),
        (128, 16, 24),
        (256, 8, 12),
        (512, 4, 6),
        (1024, 2, 3),
    ]


def test_convolutions_are_those_of_the_papers_table():
    with torch.device('meta'):
        backbone = Darknet19()
    convs = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(conv.out_channels, conv.kernel_size[0]) for conv in convs] == [
        (32, 3), (64, 3), (128, 3), (64, 1), (128, 3), (256, 3), (128, 1), (256, 3),
        (512, 3), (256, 1), (512, 3), (256, 1), (512, 3),
        (1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3),
    ]  # fmt: skip
    assert all(conv.bias is None for conv in convs)
