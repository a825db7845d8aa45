# CenterNet on the two-stack hourglass network, as in the paper.
_base_ = 'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py'
custom_imports = dict(imports=['mmlayerwise'], allow_failed_imports=False)

model = dict(
    type='mmlayerwise.FlipTestCenterNet',
    # Of BGR images, as the authors' weights want it.
    data_preprocessor=dict(
        mean=[104.04, 113.985, 119.85], std=[73.695, 69.87, 70.89], bgr_to_rgb=False
    ),
    backbone=dict(
        _delete_=True,
        type='HourglassNet',
        downsample_times=5,
        num_stacks=2,
        stage_channels=[256, 256, 384, 384, 384, 512],
        stage_blocks=[2, 2, 2, 2, 2, 4],
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
    neck=None,
    bbox_head=dict(
        type='mmlayerwise.CenterNetStackedHead', num_stacks=2, in_channels=256, feat_channels=256
    ),
    test_cfg=dict(flip_test=True),
)

train_dataloader = dict(batch_size=3, dataset=dict(times=1))
test_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True, backend_args=None),
    # The network halves its input seven times: pad to the next multiple of 128.
    dict(
        type='RandomCenterCropPad',
        ratios=None,
        border=None,
        mean=[0, 0, 0],
        std=[1, 1, 1],
        to_rgb=True,
        test_mode=True,
        test_pad_mode=['logical_or', 127],
        test_pad_add_pix=1,
    ),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'border'),
    ),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=2.5e-4))
max_epochs = 50
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[40], gamma=0.1)
]
train_cfg = dict(max_epochs=max_epochs)
auto_scale_lr = dict(_delete_=True, base_batch_size=24)
