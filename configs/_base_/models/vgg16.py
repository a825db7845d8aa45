# VGG-16 for ImageNet: 138,357,544 parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='VGG', depth=16),
    neck=dict(type='AdaptiveAveragePooling', output_size=7),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=1000,
        in_channels=512 * 7 * 7,
        mid_channels=(4096, 4096),
        dropout_rate=0.5,
    ),
)
