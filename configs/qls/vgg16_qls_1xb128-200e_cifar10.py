# VGG-16 on CIFAR-10 whose first convolution starts from quasi least squares.
_base_ = '../vgg/vgg16_1xb128-200e_cifar10.py'

# The control is step=None: the eigenvectors alone.
custom_hooks = [dict(type='mmlayerwise.QLSInitHook', num_samples=2000, epochs=8)]
