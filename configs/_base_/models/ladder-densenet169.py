# Ladder DenseNet-169: 15,082,240 parameters with 19 classes.
_base_ = './segmentor.py'
model = dict(
    data_preprocessor=dict(size=(768, 768)),
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
    ),
)
