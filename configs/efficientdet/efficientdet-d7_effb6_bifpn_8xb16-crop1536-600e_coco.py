# EfficientDet-D7: D6 on larger images, with larger anchors, trained for longer.
_base_ = './efficientdet-d6_effb6_bifpn_8xb16-crop1280-300e_coco.py'

image_size = (1536, 1536)
model = dict(
    data_preprocessor=dict(pad_size_divisor=1536),
    bbox_head=dict(anchor_generator=dict(octave_base_scale=5)),
)

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_size
train_pipeline[3].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=600)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = 600
param_scheduler[1].T_max = 599
