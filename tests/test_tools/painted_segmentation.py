_base_ = '../../configs/quickstart/segmentation.py'
custom_imports = dict(imports=['tests.test_tools.painted_scenes'])

model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    decode_head=dict(in_channels=[16] * 4, channels=16),
)
pipeline = [*_base_.train_pipeline[:2], dict(type='PaintTruth'), _base_.train_pipeline[-1]]
scenes = dict(
    num_scenes=16,
    split='train',
    image_size=(64, 64),
    num_digits=(1, 2),
    digit_size=(24, 48),
    pipeline=pipeline,
)
loader = dict(num_workers=0, persistent_workers=False, dataset=scenes)
train_dataloader = dict(batch_size=4, **loader)
val_dataloader = dict(batch_size=8, **loader)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=40, val_interval=40)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3))
param_scheduler = None
default_hooks = dict(
    checkpoint=dict(_delete_=True, type='CheckpointHook', by_epoch=False, interval=40)
)
custom_hooks = []
randomness = dict(seed=0)
