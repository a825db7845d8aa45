# The U-Net of the compression by SI on CamVid.
_base_ = [
    '../_base_/models/unet_16-256.py',
    '../_base_/datasets/camvid.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(352, 352),
    ),
    backbone=dict(in_channels=3),
    decode_head=dict(num_classes=11),
)
# Five levels halve the frame four times, so its sides have to be multiples of 16.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(480, 352)),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=8)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

max_iters = 40000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-5, end=max_iters, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=1))
