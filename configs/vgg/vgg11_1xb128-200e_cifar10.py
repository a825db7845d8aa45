# VGG-11 in its form for 32x32 images.
_base_ = './vgg16_1xb128-200e_cifar10.py'

model = dict(backbone=dict(depth=11))
