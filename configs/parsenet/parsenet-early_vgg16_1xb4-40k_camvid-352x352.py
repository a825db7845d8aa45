_base_ = [
    '../_base_/models/parsenet_vgg16.py',
    '../_base_/datasets/camvid.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(data_preprocessor=dict(size=(352, 352)), decode_head=dict(num_classes=11))

max_iters = 40000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(
        bias_lr_mult=2.0,
        bias_decay_mult=0.0,
        custom_keys={'decode_head.conv': dict(lr_mult=10.0)},
    ),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-5, end=max_iters, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=1))
