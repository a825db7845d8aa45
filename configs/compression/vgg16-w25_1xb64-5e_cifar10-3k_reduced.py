# VGG-16 with a quarter of the channels on 3,000 images of CIFAR-10: a minute on a CPU.
_base_ = '../vgg/vgg16_1xb128-200e_cifar10.py'

model = dict(
    backbone=dict(widen_factor=0.25),
    head=dict(in_channels=128, mid_channels=(128, 128), dropout_rate=0.2),
)
train_dataloader = dict(
    batch_size=64, num_workers=0, persistent_workers=False, dataset=dict(indices=3000)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=1000))
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=1000))
max_epochs = 5
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01))
param_scheduler = dict(
    _delete_=True, type='OneCycleLR', eta_max=2e-3, by_epoch=False, total_steps=235
)
default_hooks = dict(checkpoint=dict(interval=max_epochs, max_keep_ckpts=1))
