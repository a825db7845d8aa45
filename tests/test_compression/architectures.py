"""Small forms of the architectures that compression has to work on: dict deltas, no code."""

from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine import Config, ConfigDict
from torch import nn

from mmlayerwise.zoo import ZooModel
from tests.zoo.configs import NUM_SEMANTIC_CLASSES, load_config, without_pretraining

NARROW_RESNET = {'backbone.base_channels': 16}
# A dilated ResNet-18 with 16 to 128 channels.
NARROW_SEGMENTOR = {
    'data_preprocessor.size': (64, 64),
    'backbone.depth': 18,
    'backbone.base_channels': 16,
    'decode_head.in_channels': 128,
    'decode_head.channels': 16,
    'decode_head.num_classes': NUM_SEMANTIC_CLASSES,
    'auxiliary_head.in_channels': 64,
    'auxiliary_head.channels': 16,
    'auxiliary_head.num_classes': NUM_SEMANTIC_CLASSES,
}
NARROW_FPN = {
    **NARROW_RESNET,
    'backbone.depth': 18,
    'neck.in_channels': [16, 32, 64, 128],
    'neck.out_channels': 32,
}


@dataclass(frozen=True)
class Architecture:
    """One row of the harness.

    Attributes:
        config: A config of this repository, or of a toolbox as ``mmdet::...``.
        side: Of the square image, in pixels.
        deltas: Dotted keys of the model's config and their new values.
        share: Upper bound of the share of parameters that stays with half of the channels; and of
            the multiply-adds, where prediction layers don't prevail.
        large: Whether the architecture has fixed widths; it is compared in single precision then.
    """

    config: str
    side: int = 64
    deltas: dict[str, Any] = field(default_factory=dict)
    share: float = 0.35
    large: bool = False


ARCHITECTURES = {
    'vgg16': Architecture('vgg/vgg16_1xb128-200e_cifar10.py', 32, large=True),
    'googlenet': Architecture(
        'googlenet/googlenet_1xb128-200e_cifar10.py',
        32,
        {'backbone.stem': 'imagenet'},
        large=True,
    ),
    'densenet40': Architecture('densenet/densenet40-k12_1xb64-300e_cifar10.py', 16),
    'unet': Architecture(
        'mmseg::_base_/models/fcn_unet_s5-d16.py',
        32,
        {
            'data_preprocessor.size': (64, 64),
            'test_cfg.mode': 'whole',
            'backbone.base_channels': 8,
            'decode_head.in_channels': 8,
            'decode_head.channels': 8,
            'decode_head.num_classes': NUM_SEMANTIC_CLASSES,
            'auxiliary_head.in_channels': 16,
            'auxiliary_head.channels': 8,
            'auxiliary_head.num_classes': NUM_SEMANTIC_CLASSES,
        },
    ),
    'unet_mobilenet_v2': Architecture(
        'mmseg::_base_/models/fcn_r50-d8.py',
        32,
        {
            'data_preprocessor.size': (64, 64),
            'auxiliary_head': None,
            'backbone': dict(
                _delete_=True, type='MobileNetV2', widen_factor=0.25, out_indices=(0, 1, 2, 4, 6)
            ),
            'decode_head': dict(
                _delete_=True,
                type='mmlayerwise.UNetHead',
                in_channels=[8, 8, 8, 24, 80],
                channels=8,
                num_classes=NUM_SEMANTIC_CLASSES,
                norm_cfg=dict(type='BN'),
            ),
        },
    ),
    'fcn': Architecture('mmseg::_base_/models/fcn_r50-d8.py', deltas=NARROW_SEGMENTOR),
    'pspnet': Architecture('mmseg::_base_/models/pspnet_r50-d8.py', deltas=NARROW_SEGMENTOR),
    'deeplabv3plus': Architecture(
        'mmseg::_base_/models/deeplabv3plus_r50-d8.py',
        deltas={
            **NARROW_SEGMENTOR,
            'decode_head.c1_in_channels': 16,
            'decode_head.c1_channels': 8,
        },
    ),
    'retinanet': Architecture(
        'mmdet::_base_/models/retinanet_r50_fpn.py',
        deltas={
            **NARROW_FPN,
            'bbox_head.num_classes': 10,
            'bbox_head.in_channels': 32,
            'bbox_head.feat_channels': 32,
        },
        share=0.4,
    ),
    'faster_rcnn': Architecture(
        'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
        deltas={
            **NARROW_FPN,
            'rpn_head.in_channels': 32,
            'rpn_head.feat_channels': 32,
            'roi_head.bbox_roi_extractor.out_channels': 32,
            'roi_head.bbox_head.in_channels': 32,
            'roi_head.bbox_head.fc_out_channels': 64,
        },
    ),
    'mask_rcnn': Architecture(
        'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
        deltas={
            **NARROW_FPN,
            'rpn_head.in_channels': 32,
            'rpn_head.feat_channels': 32,
            'roi_head.bbox_roi_extractor.out_channels': 32,
            'roi_head.bbox_head.in_channels': 32,
            'roi_head.bbox_head.fc_out_channels': 64,
            'roi_head.mask_roi_extractor.out_channels': 32,
            'roi_head.mask_head.in_channels': 32,
            'roi_head.mask_head.conv_out_channels': 32,
        },
    ),
    'yolox': Architecture(
        'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py',
        deltas={
            'data_preprocessor.batch_augments': None,
            'backbone.widen_factor': 0.125,
            'neck.in_channels': [32, 64, 128],
            'neck.out_channels': 32,
            'bbox_head.in_channels': 32,
            'bbox_head.feat_channels': 32,
        },
    ),
    'centernet': Architecture(
        'mmdet::centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
        deltas={
            **NARROW_RESNET,
            'neck.in_channels': 128,
            'neck.num_deconv_filters': (32, 16, 16),
            'bbox_head.in_channels': 16,
            'bbox_head.feat_channels': 16,
        },
    ),
    # SSDVGG has fixed widths. From 96 pixels the last levels need padding to exist at all.
    'ssd': Architecture(
        'mmdet::_base_/models/ssd300.py',
        96,
        {'neck.level_paddings': (1, 1, 1, 1)},
        large=True,
    ),
}


def model_config(name: str) -> tuple[ConfigDict, str]:
    """The small model of a row, and the scope to build it in."""
    row = ARCHITECTURES[name]
    location = row.config if '::' in row.config else f'configs/{row.config}'
    config = load_config(ZooModel(name, location, 0))
    scope = row.config.split('::')[0] if '::' in row.config else 'mmlayerwise'
    small = Config(dict(model=without_pretraining(config)))
    small.merge_from_dict({f'model.{key}': value for key, value in row.deltas.items()})
    return small.model, scope


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model weights under which every layer matters: random, also of normalisations."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point() or 'data_preprocessor' in name:
                continue
            if tensor.dim() > 1:
                scale = (2 / tensor[0].numel()) ** 0.5
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale)
            elif tensor.dim() == 1:
                centre = 0.0 if name.endswith(('bias', 'running_mean')) else 1.0
                tensor.copy_(centre + 0.3 * torch.rand(tensor.shape, generator=generator))
    return model.eval()
