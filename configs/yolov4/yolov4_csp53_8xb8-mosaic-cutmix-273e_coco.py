# YOLOv4 with CutMix behind the mosaic: half of the images show a rectangle of another one.
_base_ = './yolov4_csp53_8xb8-mosaic-273e_coco.py'

train_pipeline = _base_.train_pipeline
# Behind the mosaic and its affine transform.
train_pipeline.insert(2, dict(type='mmlayerwise.CutMix', prob=0.5))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
