_base_ = [
    '../_base_/models/refinenet_r101.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid_40k.py',
]

model = dict(
    data_preprocessor=dict(size=(352, 352)),
    backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')),
    decode_head=dict(num_classes=11),
)
# The head, without normalisation, takes a rate of 5e-3; the trunk a tenth of it.
optim_wrapper = dict(
    optimizer=dict(lr=5e-3),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
