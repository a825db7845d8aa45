# A narrow Panoptic FPN on scenes of handwritten digits: Mask R-CNN and a semantic head.
_base_ = [
    '../_base_/models/mask_rcnn_r18_narrow.py',
    '../_base_/datasets/digit_scenes_panoptic.py',
    '../_base_/schedules/quickstart_6e.py',
    '../_base_/detection_runtime.py',
]

model = dict(
    type='PanopticFPN',
    data_preprocessor=dict(mask_pad_value=0, pad_seg=True, seg_pad_value=255),
    semantic_head=dict(
        type='PanopticFPNHead',
        num_things_classes=_base_.num_things_classes,
        num_stuff_classes=_base_.num_stuff_classes,
        in_channels=64,
        inner_channels=32,
        start_level=0,
        end_level=4,
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
        loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.5),
    ),
    panoptic_fusion_head=dict(
        type='HeuristicFusionHead',
        num_things_classes=_base_.num_things_classes,
        num_stuff_classes=_base_.num_stuff_classes,
    ),
    test_cfg=dict(
        rcnn=dict(score_thr=0.5, nms=dict(class_agnostic=True)),
        panoptic=dict(mask_overlap=0.5, stuff_area_limit=64),
    ),
)

default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(save_best='panoptic/PQ', rule='greater')
)
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=1000)]
