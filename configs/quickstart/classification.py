# A narrow ResNet-18 on handwritten digits: a minute on a CPU.
_base_ = ['../_base_/datasets/digits.py', '../_base_/default_runtime.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNetCIFAR', depth=18, in_channels=1, base_channels=16, stem_channels=16),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=_base_.num_classes, in_channels=128),
)

max_epochs = 12
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.05))
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=4e-3,
    total_steps=max_epochs,
    by_epoch=True,
    convert_to_iter_based=True,
)

default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=2, save_best='accuracy/top1')
)
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=500)]
