# GoogLeNet for 32x32 images: 1.52 G multiply-adds and 6.2 M parameters, as in the compression
# literature.
_base_ = [
    '../_base_/models/googlenet.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(stem='cifar', large_kernel='3x3-3x3', out_indices=(8,)),
    head=dict(num_classes=10),
    auxiliary_head=None,
)
