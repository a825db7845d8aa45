import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmlayerwise.compression import CompressionError
from mmlayerwise.plugins import installed_plugins

# Backbone -> scope, config, side of the image, and (layer, module whose output is the last one,
# out_indices after).
FAMILIES = {
    'VGG': (
        'mmlayerwise',
        dict(type='VGG', depth=11, with_bn=True, out_indices=(1, 4)),
        32,
        # A convolution takes its normalisation, activation and pooling along.
        [
            ('features.8', 'features.10', (1, 2)),
            ('features.12', 'features.14', (1, 2)),
            ('features.4', 'features.7', (1,)),
        ],
    ),
    'SSDVGG': (
        'mmdet',
        dict(type='SSDVGG', depth=16, with_last_pool=False, ceil_mode=True, out_indices=(3, 4)),
        32,
        [('features.28', 'features.30', (3, 4))],
    ),
    'ResNet': (
        'mmdet',
        dict(type='ResNet', depth=18, base_channels=8),
        32,
        [
            ('layer2.0.conv2', 'layer2.0', (0, 1)),
            ('layer3', 'layer3', (0, 1, 2)),
            ('layer1.1.conv1', 'layer1.1', (0,)),
        ],
    ),
    'ResNeXt': (
        'mmdet',
        dict(type='ResNeXt', depth=50, base_channels=16, groups=4, base_width=4, out_indices=(3,)),
        32,
        [('layer3.2.conv2', 'layer3.2', (2,))],
    ),
    'GoogLeNet': (
        'mmlayerwise',
        dict(type='GoogLeNet', out_indices=(2, 5, 8)),
        64,
        [
            ('inception4d.branch2.1.conv', 'inception4d', (2, 5)),
            ('maxpool4', 'inception4e', (2, 5, 6)),
        ],
    ),
    'InceptionV3': (
        'mmlayerwise',
        dict(type='InceptionV3', out_indices=(1, 3)),
        80,
        [('mixed6.1.branch1.0.conv', 'mixed6.1', (1, 2)), ('mixed5.1', 'mixed5.1', (1,))],
    ),
    'DenseNetCIFAR': (
        'mmlayerwise',
        dict(type='DenseNetCIFAR', depth=13, growth_rate=4, out_indices=(0, 2)),
        16,
        [('stages.1.layer1.conv', 'stages.1.layer1', (0, 1)), ('stages.0', 'stages.0', (0,))],
    ),
    'MobileNetV2': (
        'mmdet',
        dict(type='MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6)),
        32,
        [('layer4.1.conv.0.conv', 'layer4.1', (1, 2, 3)), ('layer2', 'layer2', (1,))],
    ),
    'EfficientNet': (
        'mmdet',
        dict(type='EfficientNet', arch='b0', out_indices=(3, 6)),
        32,
        [('layers.4.1.depthwise_conv.conv', 'layers.4.1', (3, 4))],
    ),
    'CSPDarknet': (
        'mmdet',
        dict(type='CSPDarknet', widen_factor=0.125, deepen_factor=0.33),
        64,
        [('stage3.0.conv', 'stage3.0', (2, 3)), ('stage2', 'stage2', (2,))],
    ),
    'Darknet': (
        'mmdet',
        dict(type='Darknet', depth=53, out_indices=(3, 5)),
        32,
        [('conv_res_block3.conv', 'conv_res_block3.conv', (3,))],
    ),
}
CASES = [(name, *case) for name, (*_, cases) in FAMILIES.items() for case in cases]


def build_backbone(name: str) -> nn.Module:
    scope, config, *_ = FAMILIES[name]
    with DefaultScope.overwrite_default_scope(scope):
        backbone = MODELS.build(config)
    backbone.eval()  # which returns nothing in mmdet
    return backbone


def truncated(backbone: nn.Module, layer: str) -> nn.Module | None:
    return installed_plugins().ask('truncate_backbone', backbone=backbone, layer=layer)


@pytest.mark.parametrize(('name', 'layer', 'end', 'outputs'), CASES)
def test_the_last_output_is_that_of_the_block(name, layer, end, outputs):
    backbone = build_backbone(name)
    size = FAMILIES[name][2]
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    seen = {}
    handle = backbone.get_submodule(end).register_forward_hook(
        lambda module, inputs, output: seen.update(output=output.clone())
    )
    with torch.no_grad():
        before = backbone(images)
    handle.remove()
    parameters = sum(parameter.numel() for parameter in backbone.parameters())

    smaller = truncated(backbone, layer)

    with torch.no_grad():
        after = smaller(images)
    # mmcv's VGG returns a lone map bare.
    before, after = ((one,) if torch.is_tensor(one) else one for one in (before, after))
    assert torch.equal(after[-1], seen['output'])
    assert all(torch.equal(one, other) for one, other in zip(after[:-1], before, strict=False))
    assert tuple(smaller.out_indices) == outputs
    assert len(after) == len(outputs)
    assert sum(parameter.numel() for parameter in smaller.parameters()) < parameters
    smaller.train()  # the freezing of stages still works


def test_a_unet_loses_levels_on_both_sides():
    with DefaultScope.overwrite_default_scope('mmseg'):
        config = dict(type='UNet', base_channels=4, act_cfg=dict(type='ReLU'))
        backbone = MODELS.build(config)
    backbone.eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        encoded = backbone.encoder[1](backbone.encoder[0](images))

    smaller = truncated(backbone, 'encoder.1.1.convs.1.conv')

    with torch.no_grad():
        deepest, finest = smaller(images)
    assert torch.equal(deepest, encoded)
    assert finest.shape == (1, 4, 32, 32)
    assert (len(smaller.encoder), len(smaller.decoder)) == (2, 1)
    assert smaller(torch.zeros(1, 3, 6, 6))[1].shape == (1, 4, 6, 6)  # divisible by 2 alone


@pytest.mark.parametrize(
    ('kind', 'layer'), [('ResNet', 'layer2'), ('CSPDarknet', 'stage2'), ('MobileNetV2', 'layer2')]
)
def test_frozen_stages_that_went_are_forgotten(kind, layer):
    scope, config, *_ = FAMILIES[kind]
    with DefaultScope.overwrite_default_scope(scope):
        backbone = MODELS.build(dict(config, frozen_stages=3))
    smaller = truncated(backbone, layer)
    smaller.train()
    assert not any(parameter.requires_grad for parameter in smaller.parameters())
    assert not smaller.get_submodule(layer).training


@pytest.mark.parametrize(
    ('name', 'layer', 'message'),
    [
        ('ResNet', 'conv1', "'conv1', which is in none of its stages"),
        ('GoogLeNet', 'conv2.conv', 'at least inception3a has to stay'),
        ('VGG', 'classifier', 'features.0 to features.'),
        ('SSDVGG', 'features.10', 'SSD needs 2 maps of its backbone'),
    ],
)
def test_says_where_a_backbone_cannot_be_cut(name, layer, message):
    with pytest.raises(CompressionError, match=message):
        truncated(build_backbone(name), layer)


def test_a_unet_is_cut_in_its_encoder_only():
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = MODELS.build(dict(type='UNet', base_channels=4))
    with pytest.raises(CompressionError, match=r'encoder\.0 to encoder\.4'):
        truncated(backbone, 'decoder.1')


def test_an_unknown_family_has_no_rule():
    assert truncated(nn.Sequential(nn.Conv2d(3, 4, 1)), '0') is None


def test_what_stays_keeps_its_name():
    backbone = build_backbone('DenseNetCIFAR')
    names = set(backbone.state_dict())
    smaller = truncated(backbone, 'stages.0.layer1')
    assert set(smaller.state_dict()) <= names
    assert [name for name, _ in smaller.stages[0].named_children()][-1] == 'layer1'
