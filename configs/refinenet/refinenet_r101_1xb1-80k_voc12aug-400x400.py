# The recipe of the authors' code: single crops of 400, fixed statistics of the trunk's batch
# normalisation, a rate that is lowered once, a tenth of it for the trunk.
_base_ = [
    '../_base_/models/refinenet_r101.py',
    'mmseg::_base_/datasets/pascal_voc12_aug.py',
    '../_base_/segmentation_runtime.py',
]

crop_size = (400, 400)
scale = (1100, 450)
model = dict(backbone=dict(norm_eval=True))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.7, 1.3), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset_train, dataset_aug = _base_.dataset_train, _base_.dataset_aug
dataset_train.pipeline = dataset_aug.pipeline = train_pipeline
train_dataloader = dict(batch_size=1, dataset=dict(datasets=[dataset_train, dataset_aug]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 80000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=5e-4, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[60000], gamma=0.1, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=8000, max_keep_ckpts=1))
