# VGG-16 in its form for 32x32 images.
_base_ = [
    '../_base_/models/vgg16_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

# Half the usual rate: the fully connected layers have no batch normalisation.
optim_wrapper = dict(optimizer=dict(lr=0.05))
