# SPGNet of two stages with ResNet-50: 57,189,350 parameters with 19 classes.
norm_cfg = dict(type='SyncBN', requires_grad=True)
checkpoint = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
model = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(769, 769),
    ),
    backbone=dict(
        type='mmseg.ResNet',
        depth=50,
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    decode_head=dict(
        type='mmlayerwise.SPGHead',
        in_channels=[256, 512, 1024, 2048],
        channels=256,
        num_stages=2,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        encoder=dict(
            type='mmlayerwise.StemlessResNet',
            depth=50,
            norm_cfg=norm_cfg,
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
        ),
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
