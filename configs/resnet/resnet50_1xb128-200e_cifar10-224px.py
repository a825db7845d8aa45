# ResNet-50 as for ImageNet.
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/cifar10_224px.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
