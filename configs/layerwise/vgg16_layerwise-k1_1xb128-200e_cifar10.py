# VGG-16 on CIFAR-10 whose first layer is learned forward and stays, as in the paper.
_base_ = '../vgg/vgg16_1xb128-200e_cifar10.py'

# Other rows of the table: num_forward_layers=2, 3, ... 13; 0 is plain backpropagation.
train_cfg = dict(type='mmlayerwise.LayerwiseTrainLoop', num_forward_layers=1, freeze=True)
