# AlexNet with a stem for 32x32 images.
_base_ = [
    '../_base_/models/alexnet.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(stem='cifar'),
    neck=dict(output_size=3),
    head=dict(num_classes=10, in_channels=256 * 3 * 3),
)
# Without batch normalisation a rate of 0.1 diverges.
optim_wrapper = dict(optimizer=dict(lr=0.01))
