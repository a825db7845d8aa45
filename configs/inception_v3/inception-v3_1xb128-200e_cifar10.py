# Inception-v3 with a stem for 32x32 images, whose 15x15 features are too small for the auxiliary
# head.
_base_ = [
    '../_base_/models/inception_v3.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(stem='cifar', out_indices=(3,)),
    head=dict(num_classes=10),
    auxiliary_head=None,
)
