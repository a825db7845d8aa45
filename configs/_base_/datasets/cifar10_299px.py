# CIFAR-10 enlarged for Inception-v3.
_base_ = './cifar10.py'

image_size = 299
train_pipeline = [
    dict(type='PaddedRandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=(image_size, image_size), interpolation='bicubic'),
    dict(type='PackClassificationInputs'),
]
test_pipeline = [
    dict(type='Resize', scale=(image_size, image_size), interpolation='bicubic'),
    dict(type='PackClassificationInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
