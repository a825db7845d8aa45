# VGG-16 with a quarter of the channels on 5,000 images of CIFAR-10.
_base_ = ['../_base_/models/vgg16_cifar.py', '../_base_/cifar10_reduced.py']

model = dict(
    backbone=dict(widen_factor=0.25),
    head=dict(in_channels=128, mid_channels=(128, 128), dropout_rate=0.2),
)
train_dataloader = dict(dataset=dict(indices=5000))
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = dict(eta_max=2e-3, total_steps=max_epochs)
default_hooks = dict(checkpoint=dict(interval=max_epochs))
