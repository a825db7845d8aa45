# The same U-Net on small frames for a few iterations: a minute on a CPU.
_base_ = './unet-16-256_1xb8-40k_camvid-352x352.py'

crop_size = (96, 128)
model = dict(data_preprocessor=dict(size=crop_size))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(128, 96)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 96)),
    # The truth keeps its size, as the prediction is enlarged to that of the frame.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(pipeline=test_pipeline, indices=40),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(pipeline=test_pipeline, indices=60),
)
max_iters = 200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [dict(type='OneCycleLR', eta_max=3e-3, by_epoch=False, total_steps=max_iters)]
default_hooks = dict(checkpoint=dict(interval=max_iters))
