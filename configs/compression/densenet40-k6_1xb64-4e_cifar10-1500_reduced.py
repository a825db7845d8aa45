# DenseNet-40 with half the growth rate on 1,500 images of CIFAR-10.
_base_ = ['../_base_/models/densenet40_cifar.py', '../_base_/cifar10_reduced.py']

model = dict(backbone=dict(growth_rate=6), head=dict(in_channels=232))
