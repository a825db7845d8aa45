# EfficientDet-D4: D3 with a larger backbone, more channels and larger images.
_base_ = './efficientdet-d3_effb3_bifpn_8xb16-crop896-300e_coco.py'

image_size = (1024, 1024)
checkpoint = 'efficientnet-b4_3rdparty_8xb32-aa_in1k_20220119-45b8bd2b.pth'
model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),
    backbone=dict(arch='b4', init_cfg=dict(checkpoint=_base_.weights + checkpoint)),
    neck=dict(in_channels=[56, 160, 448], out_channels=224, num_cells=7),
    bbox_head=dict(in_channels=224),
)

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_size
train_pipeline[3].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
