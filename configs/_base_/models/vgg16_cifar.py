# VGG-16 for 32x32 images: 313,725,952 multiply-adds, the 313.7M of the compression literature.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='VGG', depth=16, with_bn=True),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=10,
        in_channels=512,
        mid_channels=(512, 512),
        dropout_rate=0.5,
    ),
)
