# Part of CIFAR-10 and a few epochs, for networks that are compressed on a CPU.
_base_ = [
    './datasets/cifar10.py',
    './schedules/cifar10_1xb128-200e.py',
    './default_runtime.py',
]

train_dataloader = dict(
    batch_size=64, num_workers=0, persistent_workers=False, dataset=dict(indices=1500)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=1000))
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=1000))

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.01))
param_scheduler = dict(
    _delete_=True,
    type='OneCycleLR',
    eta_max=4e-3,
    total_steps=max_epochs,
    by_epoch=True,
    convert_to_iter_based=True,
)
default_hooks = dict(checkpoint=dict(interval=max_epochs, max_keep_ckpts=1))
