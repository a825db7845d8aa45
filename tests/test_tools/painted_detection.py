_base_ = '../../configs/quickstart/detection.py'
custom_imports = dict(imports=['tests.test_tools.painted_scenes'])

model = dict(
    backbone=dict(base_channels=8),
    neck=dict(in_channels=[16, 32, 64], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, stacked_convs=1),
)
train_pipeline = [*_base_.train_pipeline[:2], dict(type='PaintTruth'), _base_.train_pipeline[-1]]
test_pipeline = [*_base_.test_pipeline[:3], dict(type='PaintTruth'), _base_.test_pipeline[-1]]
scenes = dict(
    num_scenes=16,
    split='train',
    image_size=(64, 64),
    num_digits=(1, 2),
    digit_size=(24, 48),
    pipeline=test_pipeline,
)
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=4, dataset=dict(scenes, pipeline=train_pipeline), **loader)
val_dataloader = dict(batch_size=8, dataset=scenes, **loader)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=12, val_interval=12)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3))
param_scheduler = None
default_hooks = dict(checkpoint=dict(_delete_=True, type='CheckpointHook', interval=12))
custom_hooks = []
randomness = dict(seed=0)
