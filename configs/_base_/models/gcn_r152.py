# GCN with ResNet-152 and kernels of 15: 60,688,084 parameters with 21 classes.
_base_ = './segmentor_r101.py'

model = dict(
    backbone=dict(depth=152, init_cfg=dict(checkpoint='torchvision://resnet152')),
    decode_head=dict(type='mmlayerwise.GCNHead', kernel_size=15),
)
