# A narrow U-Net on scenes of handwritten digits: minutes on a CPU.
_base_ = [
    'mmseg::_base_/models/fcn_unet_s5-d16.py',
    '../_base_/datasets/digit_scenes_segmentation.py',
    '../_base_/segmentation_runtime.py',
]

# Synchronised normalisation needs several GPUs.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3, bgr_to_rgb=False, size=(160, 160)),
    backbone=dict(base_channels=12, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=12, channels=12, num_classes=_base_.num_classes, norm_cfg=norm_cfg
    ),
    auxiliary_head=None,
    test_cfg=dict(_delete_=True, mode='whole'),
)

max_iters = 400
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01))
param_scheduler = dict(type='OneCycleLR', eta_max=4e-3, total_steps=max_iters, by_epoch=False)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=100, save_best='mIoU'),
)
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=1000)]
