# A DenseNet of 22 layers with growth rate 8 on 2,000 images of CIFAR-10: a minute on a CPU.
_base_ = '../densenet/densenet40-k12_1xb64-300e_cifar10.py'

model = dict(backbone=dict(depth=22, growth_rate=8), head=dict(in_channels=160))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=2000))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=1000))
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=1000))
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.01))
param_scheduler = dict(
    _delete_=True, type='OneCycleLR', eta_max=4e-3, by_epoch=False, total_steps=128
)
default_hooks = dict(checkpoint=dict(interval=max_epochs, max_keep_ckpts=1))
