# DenseNet-40 by the paper's recipe: batches of 64, the rate divided by ten at epochs 150 and 225.
_base_ = [
    '../_base_/models/densenet40_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
train_cfg = dict(max_epochs=300)
param_scheduler = dict(
    _delete_=True, type='MultiStepLR', milestones=[150, 225], gamma=0.1, by_epoch=True
)
auto_scale_lr = dict(base_batch_size=64)
