# Batches of 32, rate and weight decay as in the paper.
_base_ = [
    '../_base_/models/dfn_r101.py',
    'mmseg::_base_/datasets/pascal_voc12_aug.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_40k.py',
]

train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=1e-4))
