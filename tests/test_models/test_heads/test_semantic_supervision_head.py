from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.registry import DefaultScope

from mmlayerwise.models.heads import SemanticSupervisionHead
from mmlayerwise.registry import MODELS
from mmlayerwise.structures import ClassificationDataSample

CONFIGS = Path(__file__).parents[3].joinpath('configs', 'exfuse')


def test_logits_are_a_linear_map_of_averages():
    torch.manual_seed(0)
    head = SemanticSupervisionHead(5, in_channels=4, channels=6, in_index=1).double().eval()
    maps = (torch.randn(3, 2, 8, 8).double(), torch.randn(3, 4, 7, 9).double())
    hidden = head.layers[1](head.layers[0](maps[1]))
    assert hidden.shape == (3, 6, 7, 9)
    expected = hidden.mean((2, 3)) @ head.fc.weight.T + head.fc.bias
    torch.testing.assert_close(head(maps), expected)


@pytest.fixture
def pretraining():
    """The pretraining of ExFuse's backbone in small."""
    pytest.importorskip('mmseg')
    path = CONFIGS / 'semantic-supervision_x101-8-8-9-8_1xb128-200e_cifar10-224px.py'
    model = Config.fromfile(path).model
    small = dict(stage_blocks=(1, 1, 1, 1), groups=4, base_channels=8, stem_channels=8)
    model.backbone.update(small)
    model.head.in_channels = 256
    for index, head in enumerate(model.auxiliary_head):
        head.update(in_channels=32 * 2**index, channels=8)
    return model


def test_early_stages_are_supervised_and_the_backbone_serves_segmentation(pretraining, tmp_path):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmlayerwise'):
        classifier = MODELS.build(pretraining)
    samples = [ClassificationDataSample().set_gt_label(label) for label in (0, 3)]
    losses = classifier(torch.randn(2, 3, 64, 64), samples, mode='loss')
    assert sum('loss' in name for name in losses) == 4
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in classifier.parameters())

    checkpoint = tmp_path / 'epoch.pth'
    torch.save({'state_dict': classifier.state_dict()}, checkpoint)
    config = Config.fromfile(CONFIGS / 'exfuse_x101-8-8-9-8_4xb4-40k_voc12aug-512x512.py')
    backbone = config.model.backbone
    sizes = {key: pretraining.backbone[key] for key in ('stage_blocks', 'groups')}
    backbone.update(**sizes, base_channels=8, stem_channels=8)
    backbone.init_cfg.checkpoint = str(checkpoint)
    with DefaultScope.overwrite_default_scope('mmseg'):
        loaded = MODELS.build(backbone)
    loaded.init_weights()
    expected = classifier.backbone.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
