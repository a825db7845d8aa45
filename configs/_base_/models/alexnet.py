# AlexNet for ImageNet: 61,100,840 parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='AlexNet'),
    neck=dict(type='AdaptiveAveragePooling', output_size=6),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=1000,
        in_channels=256 * 6 * 6,
        mid_channels=(4096, 4096),
        dropout_rate=0.5,
        dropout_after=False,
    ),
)
