# RetinaNet R-18 from random weights on a sample of COCO, minutes on a CPU: shows the measure on a
# real detector.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/coco_mini.py',
    '../_base_/detection_runtime.py',
]

model = dict(
    # Nothing is pre-trained, so nothing is frozen.
    backbone=dict(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512]),
)

max_epochs = 6
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=26),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, T_max=max_epochs),
]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=1000)]
