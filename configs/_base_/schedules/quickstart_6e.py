# Six epochs with one cycle of the learning rate, which trains small nets from scratch quickly.
max_epochs = 6
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=20),
)
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=2e-3,
    total_steps=max_epochs,
    by_epoch=True,
    convert_to_iter_based=True,
)
