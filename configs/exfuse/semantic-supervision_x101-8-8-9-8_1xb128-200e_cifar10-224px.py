# Pretraining of ExFuse's backbone: the early stages classify too.
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/cifar10_224px.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmlayerwise.RearrangedResNeXt',
        stage_blocks=(8, 8, 9, 8),
        groups=32,
        base_width=4,
    ),
    head=dict(num_classes=10),
    auxiliary_head=[
        dict(
            type='SemanticSupervisionHead',
            num_classes=10,
            in_channels=in_channels,
            in_index=in_index,
            loss_weight=0.3,
        )
        for in_index, in_channels in enumerate((256, 512, 1024))
    ],
)
