# EfficientDet-D2: D1 with a larger backbone, more channels and larger images.
_base_ = './efficientdet-d1_effb1_bifpn_8xb16-crop640-300e_coco.py'

image_size = (768, 768)
checkpoint = 'efficientnet-b2_3rdparty_8xb32-aa_in1k_20220119-dd61e80b.pth'
model = dict(
    data_preprocessor=dict(pad_size_divisor=768),
    backbone=dict(arch='b2', init_cfg=dict(checkpoint=_base_.weights + checkpoint)),
    neck=dict(in_channels=[48, 120, 352], out_channels=112, num_cells=5),
    bbox_head=dict(in_channels=112),
)

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_size
train_pipeline[3].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
