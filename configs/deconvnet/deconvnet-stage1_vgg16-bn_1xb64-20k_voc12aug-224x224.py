# First stage: objects in the centre of their window, all else as background.
_base_ = [
    '../_base_/models/deconvnet_vgg16-bn.py',
    'mmseg::_base_/datasets/pascal_voc12_aug.py',
    '../_base_/segmentation_runtime.py',
]

mean_color = (104, 116, 124)  # blue, green, red
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
augment = [
    dict(type='Resize', scale=(250, 250), keep_ratio=False),
    dict(type='RandomCrop', crop_size=(224, 224)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_pipeline = [
    *load,
    dict(type='mmlayerwise.LoadVOCBoxes'),
    dict(type='mmlayerwise.ObjectCenteredCrop', context=1.2, image_fill=mean_color),
    *augment,
]
# NAME.npy of each image: the boxes that EdgeBoxes has found, with their scores.
load_proposals = dict(
    type='mmlayerwise.LoadObjectProposals', folder='data/VOCdevkit/VOC2012/EdgeBoxes'
)
test_pipeline = [
    *load,
    load_proposals,
    dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'proposals')),
]
dataset_train, dataset_aug = _base_.dataset_train, _base_.dataset_aug
dataset_train.pipeline = dataset_aug.pipeline = train_pipeline
train_dataloader = dict(batch_size=64, dataset=dict(datasets=[dataset_train, dataset_aug]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

max_iters = 20000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type='StepLR', gamma=0.1, step_size=10000, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2000, max_keep_ckpts=1))
