# GoogLeNet with batch normalisation for ImageNet and, as in most released weights, a 3x3
# convolution for the 5x5 one of the paper: 13,004,888 parameters, 6,624,904 without its auxiliary
# heads.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='GoogLeNet', large_kernel='3x3', out_indices=(2, 5, 8)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=1024, dropout_rate=0.4),
    auxiliary_head=[
        dict(
            type='GoogLeNetAuxiliaryHead',
            num_classes=1000,
            in_channels=512,
            in_index=0,
            loss_weight=0.3,
        ),
        dict(
            type='GoogLeNetAuxiliaryHead',
            num_classes=1000,
            in_channels=528,
            in_index=1,
            loss_weight=0.3,
        ),
    ],
)
