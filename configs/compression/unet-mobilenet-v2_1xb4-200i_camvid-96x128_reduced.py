# The U-Net on MobileNetV2 on small frames for a few iterations, from scratch.
_base_ = './unet-16-256_1xb4-200i_camvid-96x128_reduced.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.MobileNetV2',
        out_indices=(0, 1, 2, 4, 6),
        norm_cfg=dict(type='BN'),
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
