# The U-Net of the compression by SI: 16-32-64-128-256 channels, one input channel, four classes.
# Counted with the two statistics of each normalised channel it has 1,946,756 parameters.
model = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[127.5],
        std=[127.5],
        pad_val=0,
        seg_pad_val=255,
        # Four halvings; predictions are cropped again.
        test_cfg=dict(size_divisor=16),
    ),
    backbone=dict(
        type='mmseg.UNet',
        in_channels=1,
        base_channels=16,
        num_stages=5,
        conv_cfg=dict(type='mmlayerwise.BiasedConv2d'),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU'),
        upsample_cfg=dict(type='mmlayerwise.TransposedUpsample'),
    ),
    decode_head=dict(
        type='mmseg.FCNHead',
        in_channels=16,
        in_index=4,
        channels=16,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=4,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
