# A U-Net whose way down is MobileNetV2, trained from its weights for ImageNet.
_base_ = './unet-16-256_1xb8-40k_camvid-352x352.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.MobileNetV2',
        out_indices=(0, 1, 2, 4, 6),
        norm_cfg=dict(type='BN'),
        init_cfg=dict(type='Pretrained', checkpoint='mmcls://mobilenet_v2'),
    ),
    decode_head=dict(
        _delete_=True,
        type='mmlayerwise.UNetHead',
        in_channels=[16, 24, 32, 96, 320],
        channels=16,
        num_classes=11,
        norm_cfg=dict(type='BN'),
        dropout_ratio=0.0,
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
