# EfficientDet-D5: D4 with a larger backbone, more channels and larger images.
_base_ = './efficientdet-d4_effb4_bifpn_8xb16-crop1024-300e_coco.py'

image_size = (1280, 1280)
checkpoint = 'efficientnet-b5_3rdparty_8xb32-aa_in1k_20220119-2cab8b78.pth'
model = dict(
    data_preprocessor=dict(pad_size_divisor=1280),
    backbone=dict(arch='b5', init_cfg=dict(checkpoint=_base_.weights + checkpoint)),
    neck=dict(in_channels=[64, 176, 512], out_channels=288),
    bbox_head=dict(in_channels=288),
)

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_size
train_pipeline[3].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
