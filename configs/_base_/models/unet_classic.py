# The U-Net as published, without padding: 31,030,658 parameters with one input channel and two
# classes.
model = dict(
    type='mmlayerwise.OverlapTileEncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor', mean=[127.5], std=[127.5], pad_val=0, seg_pad_val=255
    ),
    backbone=dict(type='mmlayerwise.UNetClassic', in_channels=1),
    decode_head=dict(
        type='mmlayerwise.UNetClassicHead',
        in_channels=64,
        num_classes=2,
        dropout_ratio=0.0,
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        init_cfg=dict(type='Kaiming', layer=['Conv2d'], mode='fan_in'),
    ),
    train_cfg=dict(),
    # Output tiles; the network sees 572x572 pixels for each.
    test_cfg=dict(mode='slide', crop_size=(388, 388)),
)
