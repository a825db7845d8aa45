# VD-CNN on the first 4,000 texts of AG's News, cut to 256 characters: minutes on a CPU.
_base_ = './vdcnn9_1xb128-15e_ag-news.py'

text_length = 256
train_pipeline = [
    dict(type='QuantizeCharacters', length=text_length),
    dict(type='PackTextInputs'),
]
test_pipeline = train_pipeline
train_dataloader = dict(batch_size=32, dataset=dict(indices=4000, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(indices=500, pipeline=test_pipeline))
test_dataloader = val_dataloader

max_epochs = 3
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = dict(
    _delete_=True,
    type='OneCycleLR',
    eta_max=1e-3,
    total_steps=max_epochs,
    by_epoch=True,
    convert_to_iter_based=True,
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='auto', max_samples=500)]
