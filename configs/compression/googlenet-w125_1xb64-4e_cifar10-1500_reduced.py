# GoogLeNet for 32x32 images with an eighth of the channels on 1,500 images of CIFAR-10.
_base_ = ['../_base_/models/googlenet.py', '../_base_/cifar10_reduced.py']

model = dict(
    backbone=dict(stem='cifar', large_kernel='3x3-3x3', widen_factor=0.125, out_indices=(8,)),
    head=dict(num_classes=10, in_channels=128),
    auxiliary_head=None,
)
