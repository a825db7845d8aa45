# VD-CNN of depth 9 for texts of the paper's alphabet. Set num_classes.
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='TextDataPreprocessor'),
    backbone=dict(type='VDCNN', depth=9, base_channels=64, pooling='max'),
    neck=dict(type='KMaxPooling', k=8),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=1000,
        in_channels=512 * 8,
        mid_channels=(2048, 2048),
    ),
)
