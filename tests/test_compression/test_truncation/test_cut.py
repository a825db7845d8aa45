"""Whole models that are cut still learn and predict."""

import copy

import pytest
import torch
from torch import nn

from mmlayerwise.compression import CompressionError, CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.outputs import every_output
from mmlayerwise.utils.meta_device import meta_device
from tests.test_compression.architectures import ARCHITECTURES, model_config, shaken
from tests.zoo.batches import make_items
from tests.zoo.configs import build

TASKS = {
    'vgg16': 'cls',
    'googlenet': 'cls',
    'densenet40': 'cls',
    'unet': 'sem',
    'unet_mobilenet_v2': 'sem',
    'fcn': 'sem',
    'pspnet': 'sem',
    'deeplabv3plus': 'sem',
    'mask_rcnn': 'inst',
}
# Architecture, cut, what is made anew, and the number of levels that heads read.
CUTS = [
    ('vgg16', 'backbone.features.7', ['head.layers.0.0']),
    ('googlenet', 'backbone.inception3a', ['head.fc']),
    ('densenet40', 'backbone.stages.0', ['head.fc']),
    ('unet', 'backbone.encoder.2', []),
    ('unet_mobilenet_v2', 'backbone.layer3', []),
    ('fcn', 'backbone.layer2.1.conv2', ['decode_head.convs.0.conv', 'decode_head.conv_cat.conv']),
    ('retinanet', 'backbone.layer3.1', ['neck.fpn_convs.2.conv']),
    ('retinanet', 'backbone[1]', ['neck.fpn_convs.1.conv']),
    ('mask_rcnn', 'backbone.layer3', []),
    ('yolox', 'backbone.stage3', []),
    (
        'centernet',
        'backbone.layer3.1',
        ['neck.deconv_layers.2.conv', 'neck.deconv_layers.2.conv.conv_offset'],
    ),
    (
        'ssd',
        'backbone.features.28',
        ['neck.extra_layers.0.0.conv', 'bbox_head.cls_convs.1.0', 'bbox_head.reg_convs.1.0'],
    ),
]


def cut(model: nn.Module, layer: str, side: int):
    return apply_plan(model, CompressionPlan(fingerprint(model), cut=layer), (side, side))


@pytest.mark.parametrize(('name', 'layer', 'fresh'), CUTS)
def test_a_cut_model_learns_and_predicts(name, layer, fresh):
    side = ARCHITECTURES[name].side
    model = shaken(build(*model_config(name)))
    report = cut(model, layer, side)

    assert report.fresh == fresh
    assert report.dropped
    assert report.after.parameters < report.before.parameters
    assert report.after.flops < report.before.flops

    model.train()
    task = TASKS.get(name, 'det')
    items = make_items(task, side if task == 'cls' else max(side, 64), 2)
    collated = {key: [item[key] for item in items] for key in items[0]}
    data = model.data_preprocessor(copy.deepcopy(collated), True)
    losses = model.parse_losses(model(**data, mode='loss'))[0]
    losses.backward()
    assert losses.isfinite()
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(copy.deepcopy(collated), False)
        assert len(model(**data, mode='predict')) == 2

    with meta_device():
        rebuilt = build(*model_config(name))
    cut(rebuilt, layer, side)
    shapes = {key: value.shape for key, value in rebuilt.state_dict().items()}
    assert shapes == {key: value.shape for key, value in model.state_dict().items()}


def test_what_stays_of_a_detector_keeps_its_strides_and_anchors():
    model = build(*model_config('retinanet'))
    anchors = [base.clone() for base in model.bbox_head.prior_generator.base_anchors]
    cut(model, 'backbone.layer3', 64)
    generator = model.bbox_head.prior_generator
    assert generator.strides == [(8, 8), (16, 16), (32, 32), (64, 64)]
    assert all(torch.equal(*pair) for pair in zip(generator.base_anchors, anchors, strict=False))
    assert model.neck.num_outs == generator.num_levels == 4
    levels = model.extract_feat(torch.zeros(1, 3, 128, 128))
    assert [level.shape[-1] for level in levels] == [16, 8, 4, 2]


def test_regions_come_from_the_levels_that_are_left():
    model = build(*model_config('mask_rcnn'))
    cut(model, 'backbone.layer2', 64)
    for part in ('bbox', 'mask'):
        extractor = getattr(model.roi_head, f'{part}_roi_extractor')
        assert extractor.featmap_strides == [4, 8]
        assert len(extractor.roi_layers) == 2
    assert model.rpn_head.prior_generator.strides == [(4, 4), (8, 8), (16, 16)]


def test_the_finest_levels_of_a_unet_compute_what_they_did_before_the_neck():
    """A cut behind the deepest level but one leaves everything above the cut as it was."""
    model = shaken(build(*model_config('unet')))
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        encoded = [images]
        for stage in model.backbone.encoder:
            encoded.append(stage(encoded[-1]))
    cut(model, 'backbone.encoder.3', 32)
    with torch.no_grad():
        assert torch.equal(model.backbone(images)[0], encoded[4])
    assert (model.decode_head.in_index, model.auxiliary_head.in_index) == (3, 2)


def test_an_auxiliary_head_goes_with_its_map():
    model = build(*model_config('fcn'))
    report = cut(model, 'backbone.layer2', 64)
    assert 'auxiliary_head' in report.dropped
    assert not model.with_auxiliary_head
    assert model.decode_head.in_index == 1


def test_an_auxiliary_head_of_a_map_that_stays_stays():
    model = build(*model_config('fcn'))
    cut(model, 'backbone.layer3', 64)
    assert model.with_auxiliary_head
    assert model.auxiliary_head.in_index == model.decode_head.in_index == 2


def test_a_bias_is_kept_where_only_the_inputs_are_others():
    model = shaken(build(*model_config('densenet40')))
    bias = model.head.fc.bias.clone()
    cut(model, 'backbone.stages.0', 16)
    assert torch.equal(model.head.fc.bias, bias)
    assert model.head.fc.in_features == 160


@pytest.mark.parametrize(
    ('name', 'layer', 'message'),
    [
        ('retinanet', 'neck.fpn_convs.0', 'no layer of the backbone'),
        ('retinanet', 'backbone.layer9', 'no layer of the backbone'),
        ('retinanet', 'backbone[7]', r'backbone\[7\], but the backbone returns 4 maps'),
        ('retinanet', 'backbone.layer1', 'leaves no level of the neck'),
        ('centernet', 'backbone.conv1', 'in none of its stages'),
    ],
)
def test_says_where_a_model_cannot_be_cut(name, layer, message):
    model = build(*model_config(name))
    with pytest.raises(CompressionError, match=message):
        cut(model, layer, 64)


def test_names_the_rules_there_are_for_a_family_without_one():
    config, scope = model_config('retinanet')
    config.backbone = dict(type='mmdet.SwinTransformer', embed_dims=24, num_heads=(1, 2, 4, 8))
    config.neck.in_channels = [24, 48, 96, 192]
    with pytest.raises(CompressionError, match=r'SwinTransformer; there are .*ResNet.*plugin'):
        cut(build(config, scope), 'backbone.stages.1', 64)


def test_refuses_a_neck_without_a_rule():
    config, scope = model_config('retinanet')
    config.neck = dict(
        type='ChannelMapper', in_channels=[16, 32, 64, 128], out_channels=32, num_outs=5
    )
    with pytest.raises(CompressionError, match=r'ChannelMapper has layers for each map.*FPN'):
        cut(build(config, scope), 'backbone.layer2', 64)


def test_a_bare_network_cannot_be_cut():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    with pytest.raises(CompressionError, match='has no module `backbone`'):
        cut(model, '0', 8)
    assert every_output(model, torch.zeros(1, 3, 8, 8))[0].shape == (1, 2, 8, 8)


def test_a_plan_names_channels_as_they_were_before_the_cut():
    side = ARCHITECTURES['unet_mobilenet_v2'].side
    model = shaken(build(*model_config('unet_mobilenet_v2')))
    steps = model.decode_head.steps
    last = f'decode_head.steps.{len(steps) - 1}.conv_block.convs.0.conv'
    first = 'decode_head.steps.0.conv_block.convs.0.conv'
    layer, weight = steps[-1], steps[-1].conv_block.convs[0].conv.weight.detach().clone()
    names = [name for name, _ in model.named_parameters()]
    plan = CompressionPlan(
        fingerprint(model), cut='backbone.layer3', channels={first: [0], last: [0, 2, 3]}
    )
    report = apply_plan(model, plan, (side, side))

    assert len(steps) > len(model.decode_head.steps)
    assert model.decode_head.steps[-1] is layer
    assert torch.equal(layer.conv_block.convs[0].conv.weight, weight[[0, 2, 3]])
    assert report.skipped[first] == 'it went with the cut'
    now = last.replace(f'.{len(steps) - 1}.', f'.{len(model.decode_head.steps) - 1}.')
    assert report.survivors[f'{last}.weight'] == f'{now}.weight'
    assert set(report.survivors) < set(names)
    assert set(report.survivors.values()) == {name for name, _ in model.named_parameters()}
