"""What is particular to a config in the zoo test: dict deltas and known gaps, no code.

A config that is not listed is reduced by the general rules of ``tests.zoo.configs`` alone.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reduction:
    """How a config is made small, and what is known not to be trained in it.

    Attributes:
        image_size: Height and width of the input in pixels; of a text, its characters.
        channel_divisor: By what all widths that the config names are divided; 1 where a class has
            fixed widths.
        deltas: Dotted keys of the model's config and their new values.
        untrained: Regular expressions of parameter names that receive no gradient. Each needs a
            comment with the reason, which must lie in the architecture.
        boxes_leave_the_image: Whether the system, as published, does not clip its boxes.
        learning_rate: Of the AdamW steps on the repeated batch.
    """

    image_size: int = 128
    channel_divisor: int = 4
    deltas: dict[str, Any] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()
    boxes_leave_the_image: bool = False
    learning_rate: float = 3e-4


# Hard negative mining would leave out the coarse levels, which match no digit.
_ALL_NEGATIVES = 1000
# In every EfficientDet the smallest backbone, narrower still, and thin branches. Each level has
# normalisations of its own for the boxes and needs positive anchors.
_EFFICIENTDETS = {
    f'efficientdet-{name}_coco': Reduction(
        channel_divisor=1,
        deltas={
            'data_preprocessor.pad_size_divisor': 32,
            'backbone.type': 'mmlayerwise.ScaledEfficientNet',
            'backbone.arch': 'b0',
            'backbone.widen_factor': 0.25,
            'neck.in_channels': [16, 32, 80],
            'neck.out_channels': 16,
            'neck.num_cells': 2,
            'bbox_head.in_channels': 16,
            'bbox_head.stacked_convs': 1,
            'train_cfg.assigner.pos_iou_thr': 0.001,
            'train_cfg.assigner.neg_iou_thr': 0.001,
        },
    )
    for name in (
        'd0_effb0_bifpn_8xb16-crop512-300e',
        'd1_effb1_bifpn_8xb16-crop640-300e',
        'd2_effb2_bifpn_8xb16-crop768-300e',
        'd3_effb3_bifpn_8xb16-crop896-300e',
        'd4_effb4_bifpn_8xb16-crop1024-300e',
        'd5_effb5_bifpn_8xb16-crop1280-300e',
        'd6_effb6_bifpn_8xb16-crop1280-300e',
        'd7_effb6_bifpn_8xb16-crop1536-600e',
    )
}

# An eighth of Darknet-19's and Darknet-53's widths, and of what reads them.
_NARROW_YOLOV2 = {
    'backbone.widen_factor': 0.125,
    'neck.in_channels': [64, 128],
    'neck.out_channels': 128,
    'neck.passthrough_channels': 8,
    'bbox_head.in_channels': 8 * 4 + 128,
    'bbox_head.feat_channels': 128,
}
_NARROW_DARKNET53 = {'backbone.type': 'mmlayerwise.ScaledDarknet', 'backbone.widen_factor': 0.125}
_NARROW_YOLOV3_SPP = {
    **_NARROW_DARKNET53,
    'neck.in_channels': [128, 64, 32],
    'neck.out_channels': [64, 32, 16],
    'bbox_head.in_channels': [64, 32, 16],
    'bbox_head.out_channels': [128, 64, 32],
}
_NARROW_DECOUPLED = {
    **_NARROW_DARKNET53,
    'neck.0.in_channels': [128, 64, 32],
    'neck.0.out_channels': [64, 32, 16],
    'neck.1.in_channels': [64, 32, 16],
    'neck.1.out_channels': 32,
    'bbox_head.feat_channels': 32,
}
_NARROW_YOLOX = {**_NARROW_DECOUPLED, 'bbox_head.in_channels': 32}

# Blocks of 24, 28, 30 and 23 channels.
_SMALL_DENSENET = {
    'backbone.block_layers': (1, 2, 2, 1),
    'backbone.growth_rate': 8,
    'backbone.stem_channels': 16,
}

REDUCTIONS: dict[str, Reduction] = {
    # Windows of 16, 32, 64 and 128 pixels go to the four levels.
    'fast-rcnn_r50_fpn_1x_coco': Reduction(deltas={'roi_head.bbox_roi_extractor.finest_scale': 16}),
    # The shared head, stage 4 of a ResNet, has fixed widths and costs much for each region. With
    # a frozen zero scale its residual branches would stay cut off.
    'faster-rcnn_r50-caffe_c4-1x_coco': Reduction(
        image_size=64,
        channel_divisor=1,
        deltas={
            'backbone.zero_init_residual': False,
            'backbone.norm_eval': False,
            'train_cfg.rcnn.sampler.num': 8,
            'test_cfg.rpn.max_per_img': 10,
        },
        learning_rate=3e-5,  # full width
    ),
    # Its standardised weights need normalised features when they don't come from pretraining.
    'detectors_htc-r50_1x_coco': Reduction(
        deltas={
            'neck.rfp_backbone.rfp_inplanes': 64,
            'backbone.norm_eval': False,
            'neck.rfp_backbone.norm_eval': False,
        }
    ),
    'centernet_hg104_8xb3-crop512-50e_coco': Reduction(
        image_size=64,
        channel_divisor=8,
        deltas={
            'backbone.downsample_times': 2,
            'backbone.stage_channels': [32, 32, 48],
            'backbone.stage_blocks': [1, 1, 1],
            'backbone.feat_channel': 32,
        },
        boxes_leave_the_image=True,
    ),
    'centernet_dla34-dcnv2_8xb16-crop512-140e_coco': Reduction(
        image_size=64,
        channel_divisor=1,
        deltas={
            'backbone.channels': [8, 8, 8, 16, 32, 64],
            'neck.in_channels': [8, 16, 32, 64],
            'bbox_head.in_channels': 8,
            'bbox_head.feat_channels': 16,
        },
        boxes_leave_the_image=True,
    ),
    'centernet_r18-dcnv2_8xb16-crop512-140e_coco': Reduction(
        image_size=64,
        channel_divisor=1,
        deltas={
            'backbone.base_channels': 16,
            'neck.in_channels': 128,
            'neck.num_deconv_filters': (32, 16, 16),
            'bbox_head.in_channels': 16,
            'bbox_head.feat_channels': 16,
        },
        boxes_leave_the_image=True,
    ),
    # The weights are of CamVid's eleven classes.
    'segnet_vgg16-bn_1xb12-40k_camvid-480x360': Reduction(
        image_size=64,
        channel_divisor=1,
        deltas={
            'backbone.widen_factor': 0.125,
            'decode_head.in_channels': 64,
            'decode_head.stage_channels': ((64, 64, 64), (64, 64, 32), (32, 32, 16), (16, 8), (8,)),
            'decode_head.loss_decode.class_weight': None,
        },
    ),
    # The filters of fc6 are as large as the last pooling less one; samples have no proposals.
    **dict.fromkeys(
        [
            'deconvnet-stage2_vgg16-bn_1xb64-40k_voc12aug-224x224',
            'deconvnet_vgg16-bn_1xb16-40k_camvid-224x224',
        ],
        Reduction(
            image_size=96,
            channel_divisor=1,
            deltas={
                'backbone.widen_factor': 0.125,
                'backbone.fc_channels': (64, 64),
                'backbone.fc_kernel_size': 2,
                'decode_head.in_channels': 64,
                'decode_head.fc_kernel_size': 2,
                'decode_head.stage_channels': (
                    (64, 64, 64),
                    (64, 64, 32),
                    (32, 32, 16),
                    (16, 8),
                    (8, 8),
                ),
                'test_cfg.mode': 'whole',
            },
            learning_rate=1e-3,
        ),
    ),
    # SSDVGG has fixed widths. From 96 pixels the last levels need padding to exist at all, and
    # hardly any overlap is enough to let their large boxes train the regressors.
    'ssd300_coco': Reduction(
        image_size=96,
        channel_divisor=1,
        deltas={
            'neck.level_paddings': (1, 1, 1, 1),
            'train_cfg.assigner.pos_iou_thr': 0.005,
            'train_cfg.assigner.neg_iou_thr': 0.005,
            'train_cfg.neg_pos_ratio': _ALL_NEGATIVES,
        },
    ),
    # The ten labels of the digits stand for ten nodes of the tree.
    'yolo9000_d19_8xb8-ms-160e_coco-tree': Reduction(
        image_size=64,
        channel_divisor=1,
        deltas={
            'backbone.widen_factor': 0.125,
            'bbox_head.in_channels': 128,
            'bbox_head.classes': [
                'person',
                'bicycle',
                'car',
                'bird',
                'cat',
                'cup',
                'fork',
                'apple',
                'tv',
                'book',
            ],
        },
    ),
    **{
        name: Reduction(
            channel_divisor=1,
            deltas={
                'backbone.widen_factor': 0.125,
                'bbox_head.in_channels': 128,
                'bbox_head.grid_size': 2,
                width: 64,
            },
        )
        for name, width in (
            ('yolov1_8xb8-135e_voc0712', 'bbox_head.fc_channels'),
            ('yolov1-local_8xb8-135e_voc0712', 'bbox_head.local_channels'),
        )
    },
    **dict.fromkeys(
        ['yolov2_d19_8xb8-ms-160e_coco', 'yolov2_d19_8xb8-ms-160e_voc0712'],
        Reduction(image_size=64, channel_divisor=1, deltas=_NARROW_YOLOV2),
    ),
    # Darknet has fixed widths.
    'yolov3_d53_8xb8-320-273e_coco': Reduction(
        image_size=64, channel_divisor=1, boxes_leave_the_image=True
    ),
    # Every level gets a pair of an anchor and a box.
    'yolov4_csp53_8xb8-mosaic-273e_coco': Reduction(
        image_size=64,
        channel_divisor=1,
        deltas={
            'backbone.widen_factor': 0.125,
            'neck.in_channels': [32, 64, 128],
            'bbox_head.in_channels': [64, 32, 16],
            'bbox_head.out_channels': [128, 64, 32],
            'bbox_head.iou_threshold': 0.001,
        },
    ),
    # Hardly any overlap lets an anchor of every level train its box branch.
    **{
        name: Reduction(
            image_size=64,
            channel_divisor=1,
            boxes_leave_the_image=True,
            deltas={
                **narrow,
                'train_cfg.assigner.pos_iou_thr': 0.02,
                'train_cfg.assigner.neg_iou_thr': 0.02,
            },
        )
        for name, narrow in (
            ('yolov3-spp_d53_8xb8-300e_coco', _NARROW_YOLOV3_SPP),
            (
                'yolov3-spp-decoupled_d53_8xb8-300e_coco',
                {**_NARROW_DECOUPLED, 'bbox_head.in_channels': [32, 32, 32]},
            ),
            (
                'yolov3-spp-decoupled_d53_8xb8-mosaic-300e_coco',
                {**_NARROW_DECOUPLED, 'bbox_head.in_channels': [32, 32, 32]},
            ),
        )
    },
    # Objects of every level.
    **dict.fromkeys(
        ['yolox-center_d53_8xb8-300e_coco', 'yolox-center3x3_d53_8xb8-300e_coco'],
        Reduction(
            image_size=64,
            channel_divisor=1,
            boxes_leave_the_image=True,
            deltas={**_NARROW_YOLOX, 'train_cfg.assigner.limits': (10, 15)},
        ),
    ),
    # Boxes that are chosen on every level.
    'yolox_d53_8xb8-300e_coco': Reduction(
        channel_divisor=1, boxes_leave_the_image=True, deltas=_NARROW_YOLOX
    ),
    'yolox-nms-free_d53_8xb8-300e_coco': Reduction(
        image_size=64, channel_divisor=1, boxes_leave_the_image=True, deltas=_NARROW_YOLOX
    ),
    # The assignment changes from step to step; small ones don't show.
    'yolox_s_8xb8-300e_coco': Reduction(boxes_leave_the_image=True, learning_rate=1e-3),
    'yolact_r101_1xb8-55e_coco': Reduction(
        deltas={'train_cfg.neg_pos_ratio': _ALL_NEGATIVES},
    ),
    **_EFFICIENTDETS,
    # Three stages, as five would enlarge small images by a margin of 92 pixels.
    **dict.fromkeys(
        ['unet-classic_1xb1-40k_isbi-em-572x572', 'unet-classic_1xb2-40k_camvid-540x540'],
        Reduction(
            image_size=48,
            channel_divisor=1,
            deltas={
                'mirror_in_training': True,
                'backbone.in_channels': 3,
                'backbone.base_channels': 8,
                'backbone.num_stages': 3,
                'decode_head.in_channels': 8,
                'test_cfg.crop_size': (40, 40),
            },
            learning_rate=1e-3,
        ),
    ),
    # DenseNet's widths follow from its growth.
    **dict.fromkeys(
        [
            'ladder_d169_4xb4-80k_cityscapes-768x768',
            'ladder_d121_4xb4-80k_cityscapes-768x768',
            'ladder_d121_1xb4-40k_camvid-352x352',
        ],
        Reduction(
            image_size=64,
            channel_divisor=1,
            deltas={
                **_SMALL_DENSENET,
                'decode_head.in_channels': [24, 28, 30, 23],
                'decode_head.channels': 16,
                'decode_head.bottleneck_channels': 32,
            },
            learning_rate=1e-3,
        ),
    ),
    **dict.fromkeys(
        ['sdn-m3_d161_4xb4-40k_voc12aug-512x512', 'sdn-m3_d161_1xb4-40k_camvid-352x352'],
        Reduction(
            image_size=64,
            channel_divisor=1,
            deltas={
                **_SMALL_DENSENET,
                'decode_head.in_channels': [24, 28, 30],
                'decode_head.unit_channels': [16, 16, 24],
                'decode_head.growth_rate': 8,
            },
            learning_rate=1e-3,
        ),
    ),
    # Both encoders are made small alike.
    **dict.fromkeys(
        ['spgnet_2xr50_4xb2-80k_cityscapes-769x769', 'spgnet_2xr50_1xb4-40k_camvid-352x352'],
        Reduction(
            image_size=64,
            channel_divisor=1,
            deltas={
                f'{part}.{key}': value
                for part in ('backbone', 'decode_head.encoder')
                for key, value in (('depth', 18), ('base_channels', 16), ('stem_channels', 16))
            }
            | {'decode_head.in_channels': [16, 32, 64, 128], 'decode_head.channels': 32},
            learning_rate=1e-3,
        ),
    ),
    # Groups of the width that four times as many have in the full network.
    'exfuse_x101-8-8-9-8_4xb4-40k_voc12aug-512x512': Reduction(
        image_size=64,
        deltas={'backbone.stage_blocks': (2, 1, 1, 1), 'backbone.groups': 8},
    ),
    # The attention mask covers the 8 x 8 feature map from every position: 2 * 8 - 1.
    'psanet_r101-d8_4xb4-20k_voc12aug-512x512': Reduction(
        image_size=64, deltas={'decode_head.mask_size': (15, 15)}
    ),
}
DEFAULT = {
    'sem': Reduction(image_size=64),
    'cls': Reduction(image_size=32, channel_divisor=1),
    'text': Reduction(image_size=96),
}


def reduction_for(name: str, task: str) -> Reduction:
    """The entry of a config, or the default of its task."""
    return REDUCTIONS.get(name) or DEFAULT.get(task, Reduction())
