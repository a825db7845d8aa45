# GoogLeNet as for ImageNet, with its auxiliary heads.
_base_ = [
    '../_base_/models/googlenet.py',
    '../_base_/datasets/cifar10_224px.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(num_classes=10),
    auxiliary_head=[
        dict(
            type='GoogLeNetAuxiliaryHead',
            num_classes=10,
            in_channels=512,
            in_index=0,
            loss_weight=0.3,
        ),
        dict(
            type='GoogLeNetAuxiliaryHead',
            num_classes=10,
            in_channels=528,
            in_index=1,
            loss_weight=0.3,
        ),
    ],
)
