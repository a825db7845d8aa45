# The baseline of YOLOX's road map: YOLOv3-SPP with an IoU loss, binary cross-entropy, averaged
# weights and a cosine schedule. It augments by flips, colour jitter and multi-scale batches only.
_base_ = 'mmdet::yolox/yolox_s_8xb8-300e_coco.py'
custom_imports = dict(imports=['mmlayerwise'], allow_failed_imports=False)

norm_cfg = dict(type='BN', momentum=0.03, eps=0.001)
act_cfg = dict(type='LeakyReLU', negative_slope=0.1)
model = dict(
    type='YOLOV3',
    backbone=dict(
        _delete_=True,
        type='Darknet',
        depth=53,
        out_indices=(3, 4, 5),
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        norm_eval=False,  # trained from scratch
    ),
    neck=dict(
        _delete_=True,
        type='mmlayerwise.YOLOV3SPPNeck',
        num_scales=3,
        in_channels=[1024, 512, 256],
        out_channels=[512, 256, 128],
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    bbox_head=dict(
        _delete_=True,
        type='mmlayerwise.YOLOV3IoUHead',
        num_classes=80,
        in_channels=[512, 256, 128],
        out_channels=[1024, 512, 256],
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0),
    ),
    test_cfg=dict(
        _delete_=True,
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.01,
        nms=dict(type='nms', iou_threshold=0.65),
        max_per_img=300,
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale={{_base_.img_scale}}, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type={{_base_.dataset_type}},
        data_root={{_base_.data_root}},
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline,
        filter_cfg=dict(filter_empty_gt=False, min_size=32),
        backend_args=None,
    )
)
sync_norm = dict(type='SyncNormHook', priority=48)
average_model = dict(
    type='EMAHook',
    ema_type='ExpMomentumEMA',
    momentum=0.0001,
    update_buffers=True,
    priority=49,
)
custom_hooks = [sync_norm, average_model]
