_base_ = './ladder_d169_4xb4-80k_cityscapes-768x768.py'

model = dict(
    backbone=dict(
        depth=121,
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/densenet121-a639ec97.pth'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 1024]),
)
