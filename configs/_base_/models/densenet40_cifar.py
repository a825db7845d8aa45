# DenseNet-40 with growth rate 12 for 32x32 images: 1,019,722 parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='DenseNetCIFAR', depth=40, growth_rate=12),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=448),
)
