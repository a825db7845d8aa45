import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.registry import DefaultScope

from mmlayerwise.models.backbones import CSPDarknet53
from mmlayerwise.models.classifiers import ImageClassifier


def test_classifier_has_the_published_size():
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmlayerwise'):
        model = ImageClassifier(
            backbone=dict(type='CSPDarknet53', out_indices=(5,)),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=1000, in_channels=1024),
        )
    assert sum(p.numel() for p in model.parameters()) == 27_642_184


def test_stages_halve_the_map():
    with torch.device('meta'):
        shapes = [tuple(x.shape[1:]) for x in CSPDarknet53()(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(256, 8, 12), (512, 4, 6), (1024, 2, 3)]


def test_activation_is_mish():
    backbone = CSPDarknet53(out_indices=(0,))
    backbone.eval()
    inputs = torch.randn(1, 3, 8, 8)
    (output,) = backbone(inputs)
    normalised = backbone.conv1.bn(backbone.conv1.conv(inputs))
    expected = normalised * torch.log(1 + normalised.exp()).tanh()
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('index', [1, 2])
def test_stage_joins_its_two_parts(index):
    torch.manual_seed(0)
    backbone = CSPDarknet53()
    backbone.eval()
    stage = getattr(backbone, f'conv_res_block{index}')
    width = {1: 64, 2: 64}[index]
    inputs = torch.randn(1, {1: 32, 2: 64}[index], 8, 8)
    halved = stage.downsample(inputs)
    main = stage.main_conv(halved)
    assert main.shape[1] == width
    for block in stage.blocks:
        main = main + block.conv2(block.conv1(main))
    assert stage.blocks[0].conv1.conv.out_channels == {1: 32, 2: 64}[index]
    joined = torch.cat([stage.post_conv(main), stage.shortcut_conv(halved)], 1)
    torch.testing.assert_close(stage(inputs), stage.transition(joined))
