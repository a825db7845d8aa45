# With spatial pyramid pooling over whole frames' context.
_base_ = [
    '../_base_/models/ladder-densenet169.py',
    '../_base_/datasets/camvid.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=(352, 352)),
    backbone=dict(
        depth=121,
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/densenet121-a639ec97.pth'),
    ),
    decode_head=dict(
        in_channels=[256, 512, 1024, 1024], num_classes=11, pyramid_grids=(8, 4, 2, 1)
    ),
)

max_iters = 40000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=4e-4, amsgrad=True, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.25)}),
)
param_scheduler = [dict(type='PolyLR', power=1.5, eta_min=1e-6, end=max_iters, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=1))
