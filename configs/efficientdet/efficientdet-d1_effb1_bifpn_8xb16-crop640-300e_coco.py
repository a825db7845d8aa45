# EfficientDet-D1: D0 with a larger backbone, more channels and larger images.
_base_ = './efficientdet-d0_effb0_bifpn_8xb16-crop512-300e_coco.py'

image_size = (640, 640)
checkpoint = 'efficientnet-b1_3rdparty_8xb32-aa_in1k_20220119-619d8ae3.pth'
model = dict(
    data_preprocessor=dict(pad_size_divisor=640),
    backbone=dict(arch='b1', init_cfg=dict(checkpoint=_base_.weights + checkpoint)),
    neck=dict(out_channels=88, num_cells=4),
    bbox_head=dict(in_channels=88),
)

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_size
train_pipeline[3].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
