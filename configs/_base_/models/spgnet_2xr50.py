# SPGNet of two stages with ResNet-50: 57,189,350 parameters with 19 classes.
_base_ = './segmentor.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
checkpoint = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
model = dict(
    data_preprocessor=dict(size=(769, 769)),
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
        encoder=dict(
            type='mmlayerwise.StemlessResNet',
            depth=50,
            norm_cfg=norm_cfg,
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
        ),
    ),
)
