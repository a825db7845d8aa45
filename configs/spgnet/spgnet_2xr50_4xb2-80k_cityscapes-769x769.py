_base_ = [
    '../_base_/models/spgnet_2xr50.py',
    'mmseg::_base_/datasets/cityscapes_769x769.py',
    '../_base_/segmentation_runtime.py',
]

max_iters = 80000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-4, end=max_iters, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=8000, max_keep_ckpts=1))
