# ResNet-50 with a stem for 32x32 images.
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(type='ResNetCIFAR'), head=dict(num_classes=10))
