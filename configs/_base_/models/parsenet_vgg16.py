# ParseNet on DeepLab-LargeFOV: VGG-16 of stride 8.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='mmlayerwise.SegmentationVGG',
        depth=16,
        out_indices=(5,),
        pool_kernel_size=3,
        pool_strides=(2, 2, 2, 1, 1),
        dilations=(1, 1, 1, 1, 2),
        fc_channels=(1024, 1024),
        fc_kernel_size=3,
        fc_dilation=12,
        fc_padded=True,
        widen_factor=1.0,
        init_cfg=dict(
            type='Pretrained', checkpoint='https://download.pytorch.org/models/vgg16-397923af.pth'
        ),
    ),
    decode_head=dict(
        type='mmlayerwise.ParseNetHead',
        in_channels=1024,
        fusion='early',
        scale=10.0,
        num_classes=21,
        # Its padded poolings see pixels 0, 8, 16 and so on.
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
