# EfficientDet-D3: D2 with a larger backbone, more channels and larger images.
_base_ = './efficientdet-d2_effb2_bifpn_8xb16-crop768-300e_coco.py'

image_size = (896, 896)
checkpoint = 'efficientnet-b3_3rdparty_8xb32-aa_in1k_20220119-5b4887a0.pth'
model = dict(
    data_preprocessor=dict(pad_size_divisor=896),
    backbone=dict(arch='b3', init_cfg=dict(checkpoint=_base_.weights + checkpoint)),
    neck=dict(in_channels=[48, 136, 384], out_channels=160, num_cells=6),
    bbox_head=dict(in_channels=160, stacked_convs=4),
)

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_size
train_pipeline[3].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
