# RefineNet on ResNet-101, a cascade of four: 118,052,437 parameters with 21 classes.
_base_ = './segmentor_r101.py'

model = dict(
    data_preprocessor=dict(size=(400, 400)),
    decode_head=dict(
        type='mmlayerwise.RefineNetHead',
        block_channels=[256, 256, 256, 512],
        num_poolings=4,
        dropout_ratio=0.5,
    ),
)
