# DFN on ResNet-101: 90,592,147 parameters with 21 classes.
_base_ = './segmentor_r101.py'

model = dict(
    decode_head=dict(
        type='mmlayerwise.DFNHead',
        channels=512,
        border_channels=21,
        border_width=7,
        norm_cfg=dict(type='BN', requires_grad=True),
        loss_border=dict(
            type='mmlayerwise.BinaryFocalLoss',
            gamma=2.0,
            alpha=0.25,
            loss_weight=0.1,
            loss_name='loss_border',
        ),
    ),
)
