# VGG-16 as for ImageNet.
_base_ = [
    '../_base_/models/vgg16.py',
    '../_base_/datasets/cifar10_224px.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
# Without batch normalisation a rate of 0.1 diverges.
optim_wrapper = dict(optimizer=dict(lr=0.01))
