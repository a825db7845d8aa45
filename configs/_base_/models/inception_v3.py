# Inception-v3 for ImageNet: 27,161,264 parameters, 23,834,568 without the auxiliary head.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='InceptionV3', out_indices=(2, 3)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=2048, dropout_rate=0.5),
    auxiliary_head=dict(
        type='InceptionV3AuxiliaryHead', num_classes=1000, in_index=0, loss_weight=0.4
    ),
)
