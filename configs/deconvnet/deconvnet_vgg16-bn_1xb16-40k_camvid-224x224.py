# CamVid, which has no proposals and no background: windows all over the frame in both places.
_base_ = [
    '../_base_/models/deconvnet_vgg16-bn.py',
    '../_base_/datasets/camvid.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    decode_head=dict(num_classes=11),
    # Above the score of a distant class, which may be negative, there are no zeros.
    test_cfg=dict(context=1.0, aggregation='mean'),
)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_pipeline = [
    *load,
    dict(type='mmlayerwise.WindowProposals'),
    dict(
        type='mmlayerwise.ProposalCrop',
        overlap=0.0,
        background=None,
        context=1.0,
        image_fill=(104, 116, 124),
    ),
    dict(type='Resize', scale=(250, 250), keep_ratio=False),
    dict(type='RandomCrop', crop_size=(224, 224)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    *load,
    dict(type='mmlayerwise.WindowProposals'),
    dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'proposals')),
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

max_iters = 40000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type='StepLR', gamma=0.1, step_size=10000, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=1))
