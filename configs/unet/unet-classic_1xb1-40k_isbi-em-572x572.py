# U-Net as published on the slices of the ISBI 2012 challenge: 512x512 pixels, membranes and cells.
_base_ = ['../_base_/models/unet_classic.py', '../_base_/segmentation_runtime.py']

model = dict(data_preprocessor=dict(size=(572, 572)))

dataset_type = 'mmseg.BaseSegDataset'
data_root = '{{$MMLAYERWISE_DATA_ROOT:data}}/isbi_em/'
metainfo = dict(classes=('membrane', 'cell'), palette=[[0, 0, 0], [255, 255, 255]])
load = [
    dict(type='LoadImageFromFile', color_type='grayscale'),
    dict(type='LoadAnnotations'),
]
train_pipeline = [
    *load,
    # Every 388x388 output tile of the image is a crop of 572x572 pixels of the padded one.
    dict(type='mmlayerwise.MirrorPad', margin=92),
    dict(type='mmlayerwise.ElasticDeform', grid_size=3, sigma=10),
    dict(type='RandomCrop', crop_size=(572, 572)),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='mmlayerwise.BorderWeightMap', border_weight=10, sigma=5),
    dict(type='mmlayerwise.PackBorderWeights'),
]
test_pipeline = [*load, dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        img_suffix='.png',
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        img_suffix='.png',
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator

max_iters = 40000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# One large tile a step and a high momentum in the place of a batch, as in the paper.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.99), clip_grad=None
)
param_scheduler = []
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=1))
