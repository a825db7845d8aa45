# A narrow Semantic FPN on scenes of handwritten digits: minutes on a CPU.
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
    backbone=dict(type='ResNet', depth=18, base_channels=24, stem_channels=24, norm_cfg=norm_cfg),
    neck=dict(
        type='FPN', in_channels=[24, 48, 96, 192], out_channels=64, num_outs=4, norm_cfg=norm_cfg
    ),
    decode_head=dict(
        type='FPNHead',
        in_channels=[64, 64, 64, 64],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=32,
        num_classes=_base_.num_classes,
        norm_cfg=norm_cfg,
        align_corners=False,
        # Textures cover seven times as many pixels as all digits.
        loss_decode=dict(type='CrossEntropyLoss', class_weight=[1.0] * 10 + [0.2] * 3),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

max_iters = 400
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = dict(type='OneCycleLR', eta_max=2e-3, total_steps=max_iters, by_epoch=False)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=100, save_best='mIoU'),
)
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=1000)]
