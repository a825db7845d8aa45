# YOLOv4 on COCO: mosaics of 608 pixels, batches of another size every 10 iterations.
_base_ = ['mmdet::_base_/datasets/coco_detection.py', '../_base_/detection_runtime.py']
custom_imports = dict(imports=['mmlayerwise'], allow_failed_imports=False)

input_size = (608, 608)
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0, 0, 0],
        std=[255, 255, 255],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        batch_augments=[
            dict(type='BatchSyncRandomResize', random_size_range=(416, 800), interval=10)
        ],
    ),
    backbone=dict(type='mmlayerwise.CSPDarknet53'),
    neck=dict(type='mmlayerwise.YOLOv4PAN'),
    bbox_head=dict(type='mmlayerwise.YOLOv4Head', num_classes=80),
    test_cfg=dict(
        score_thr=0.001,
        nms_pre=1000,
        min_bbox_size=0,
        # dict(type='diou_nms', iou_threshold=0.45, beta=0.6) spares boxes with centres apart.
        nms=dict(type='nms', iou_threshold=0.45),
        max_per_img=300,
    ),
)

train_pipeline = [
    dict(type='Mosaic', img_scale=input_size, pad_val=114.0),
    dict(
        type='RandomAffine',
        max_rotate_degree=0,
        max_shear_degree=0,
        scaling_ratio_range=(0.5, 1.5),
        border=(-input_size[0] // 2, -input_size[1] // 2),
    ),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='CocoDataset',
            data_root='data/coco/',
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=[
                dict(type='LoadImageFromFile', backend_args=None),
                dict(type='LoadAnnotations', with_bbox=True),
            ],
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# 500,500 iterations of batches of 64; a tenth of the rate from 400,000 and from 450,000 on.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=273, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.0013, momentum=0.949, weight_decay=0.0005),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=273, milestones=[218, 246], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
