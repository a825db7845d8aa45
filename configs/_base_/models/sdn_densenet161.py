# Three stacked units behind the first three blocks of DenseNet-161: 238,958,686 parameters with 21
# classes.
model = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(
        type='mmlayerwise.DenseNet',
        depth=161,
        out_indices=(0, 1, 2),
        final_norm=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/densenet161-8d451a50.pth',
        ),
    ),
    decode_head=dict(
        type='mmlayerwise.SDNHead',
        in_channels=[384, 768, 2112],
        num_units=3,
        unit_channels=[576, 768, 1024],
        growth_rate=48,
        down_layers=(2, 4),
        up_layers=(2, 2),
        num_classes=21,
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
