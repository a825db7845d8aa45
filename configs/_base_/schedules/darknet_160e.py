# The schedule of YOLOv2: 160 epochs of batches of 64, a tenth of the rate after 60 and 90.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=160, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=160, milestones=[60, 90], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
