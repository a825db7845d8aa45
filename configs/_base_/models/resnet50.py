# ResNet-50 for ImageNet: 25,557,032 parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmdet.ResNet', depth=50, out_indices=(3,), norm_eval=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=2048),
)
