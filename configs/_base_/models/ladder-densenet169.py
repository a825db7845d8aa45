# Ladder DenseNet-169: 15,082,240 parameters with 19 classes.
model = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(768, 768),
    ),
    backbone=dict(
        type='mmlayerwise.DenseNet',
        depth=169,
        final_norm=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/densenet169-b2777c0a.pth',
        ),
    ),
    decode_head=dict(
        type='mmlayerwise.LadderDenseHead',
        in_channels=[256, 512, 1280, 1664],
        channels=128,
        bottleneck_channels=512,
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
