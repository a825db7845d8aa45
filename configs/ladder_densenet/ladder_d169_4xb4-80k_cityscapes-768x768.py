_base_ = [
    '../_base_/models/ladder-densenet169.py',
    'mmseg::_base_/datasets/cityscapes_768x768.py',
    '../_base_/segmentation_runtime.py',
]

train_dataloader = dict(batch_size=4, num_workers=4)

max_iters = 80000
# Pre-trained weights learn four times slower.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=4e-4, amsgrad=True, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.25)}),
)
param_scheduler = [dict(type='PolyLR', power=1.5, eta_min=1e-6, end=max_iters, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=8000, max_keep_ckpts=1))
