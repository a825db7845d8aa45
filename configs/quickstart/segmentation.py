# A narrow U-Net on scenes of handwritten digits: minutes on a CPU.
_base_ = [
    '../_base_/datasets/digit_scenes_segmentation.py',
    '../_base_/segmentation_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5] * 3,
        std=[64.0] * 3,
        size=(160, 160),
        pad_val=0,
        seg_pad_val=255,
    ),
    # Works at half the scenes' resolution: a quarter of the time.
    backbone=dict(type='UNet', base_channels=16, strides=(2, 1, 1, 1, 1), norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead',
        in_channels=16,
        in_index=4,
        channels=16,
        num_convs=1,
        concat_input=False,
        num_classes=_base_.num_classes,
        norm_cfg=norm_cfg,
        align_corners=False,
        # Textures cover seven times as many pixels as all digits.
        loss_decode=dict(type='CrossEntropyLoss', class_weight=[1.0] * 10 + [0.2] * 3),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

max_iters = 600
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=200)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01))
param_scheduler = dict(type='OneCycleLR', eta_max=4e-3, total_steps=max_iters, by_epoch=False)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=200, save_best='mIoU'),
)
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=1000)]
