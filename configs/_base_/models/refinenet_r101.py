# RefineNet on ResNet-101, a cascade of four: 118,052,437 parameters with 21 classes.
model = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(400, 400),
    ),
    backbone=dict(
        type='ResNet',
        depth=101,
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    decode_head=dict(
        type='mmlayerwise.RefineNetHead',
        in_channels=[256, 512, 1024, 2048],
        block_channels=[256, 256, 256, 512],
        num_classes=21,
        num_poolings=4,
        dropout_ratio=0.5,
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
