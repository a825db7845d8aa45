# DenseNet-40 as the compression literature has it: the first convolution is as wide as two layers.
_base_ = '../densenet/densenet40-k12_1xb64-300e_cifar10.py'

model = dict(backbone=dict(stem_channels=24), head=dict(in_channels=456))
