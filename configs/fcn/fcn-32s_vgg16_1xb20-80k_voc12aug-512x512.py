# The coarsest network, which the finer ones start from.
_base_ = [
    '../_base_/models/fcn-8s_vgg16.py',
    'mmseg::_base_/datasets/pascal_voc12_aug.py',
    '../_base_/segmentation_runtime.py',
]

crop_size = (512, 512)
input_padding = 100
fc_padded = False
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(out_indices=(5,), input_padding=input_padding, fc_padded=fc_padded),
    decode_head=dict(
        in_channels=(4096,), in_index=(0,), input_padding=input_padding, fc_padded=fc_padded
    ),
)
train_dataloader = dict(batch_size=20)

# 175 epochs at a constant rate; that of biases is doubled.
max_iters = 80000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=8000, max_keep_ckpts=1))
