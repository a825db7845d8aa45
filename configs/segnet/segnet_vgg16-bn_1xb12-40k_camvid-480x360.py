# SegNet on whole frames, as in the paper.
_base_ = ['../_base_/datasets/camvid.py', '../_base_/segmentation_runtime.py']

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(360, 480),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='mmlayerwise.SegmentationVGG',
        depth=16,
        with_bn=True,
        out_indices=(4,),
        fc_channels=(),
        return_switches=True,
        widen_factor=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/vgg16_bn-6c64b313.pth',
        ),
    ),
    decode_head=dict(
        type='mmlayerwise.SegNetHead',
        in_channels=512,
        stage_channels=((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64,)),
        num_classes=11,
        loss_decode=dict(
            type='CrossEntropyLoss',
            # Median-frequency balancing, as released.
            class_weight=[
                0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478,
                7.3614,
            ],
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)  # fmt: skip

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=12, dataset=dict(pipeline=train_pipeline))

max_iters = 40000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=1))
