# EfficientDet-D0 on COCO as in the paper; D1 to D7 are this config in other sizes.
_base_ = ['mmdet::_base_/datasets/coco_detection.py', '../_base_/detection_runtime.py']
custom_imports = dict(imports=['mmlayerwise'], allow_failed_imports=False)

image_size = (512, 512)
weights = 'https://download.openmmlab.com/mmclassification/v0/efficientnet/'
norm_cfg = dict(type='BN', momentum=0.01, eps=1e-3)
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=512,  # to the full square
    ),
    backbone=dict(
        type='EfficientNet',
        arch='b0',
        drop_path_rate=0.2,
        out_indices=(3, 4, 5),
        norm_cfg=norm_cfg,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint=weights + 'efficientnet-b0_3rdparty_8xb32-aa_in1k_20220119-8d939117.pth',
        ),
    ),
    neck=dict(
        type='mmlayerwise.BiFPN',
        in_channels=[40, 112, 320],
        out_channels=64,
        num_cells=3,
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(
        type='mmlayerwise.EfficientDetSepBNHead',
        num_classes=80,
        num_ins=5,
        in_channels=64,
        stacked_convs=3,
        norm_cfg=norm_cfg,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[1.0, 0.5, 2.0],  # height to width; in the authors' order, as are the scales
            scale_major=False,
            strides=[8, 16, 32, 64, 128],
            center_offset=0.5,
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=1.5, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='mmlayerwise.HuberLoss', delta=0.1, loss_weight=50.0),
    ),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0,
            ignore_iof_thr=-1,
        ),
        sampler=dict(type='PseudoSampler'),  # the focal loss takes all anchors
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000,  # of each level
        min_bbox_size=0,
        score_thr=0.001,
        nms=dict(type='soft_nms', method='gaussian', sigma=0.5, min_score=0.001),
        max_per_img=100,
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(batch_size=16, num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# The rate rises for an epoch and falls along a cosine.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.16, momentum=0.9, weight_decay=4e-5),
    # Only the weights of convolutions decay.
    paramwise_cfg=dict(
        norm_decay_mult=0, bias_decay_mult=0, custom_keys={'fusion': dict(decay_mult=0)}
    ),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        begin=0,
        end=1,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        begin=1,
        end=300,
        T_max=299,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [dict(type='EMAHook', momentum=0.0002, update_buffers=True)]
sync_bn = 'torch'  # statistics over all devices of a distributed run
auto_scale_lr = dict(enable=False, base_batch_size=128)
