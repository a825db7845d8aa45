# EfficientNet-B0 for ImageNet: 5,288,548 parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmdet.EfficientNet', arch='b0', drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=1280, dropout_rate=0.2),
)
