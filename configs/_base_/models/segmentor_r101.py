# What segmentors on ResNet-101 have in common; the head is told by each.
_base_ = './segmentor.py'
model = dict(
    backbone=dict(
        type='ResNet',
        depth=101,
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
)
