# Inception-v3 as for ImageNet, at 299x299 and with its auxiliary head.
_base_ = [
    '../_base_/models/inception_v3.py',
    '../_base_/datasets/cifar10_299px.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10), auxiliary_head=dict(num_classes=10))
