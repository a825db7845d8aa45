# DeconvNet: VGG-16 with its fully connected layers, and its mirror image.
model = dict(
    type='mmlayerwise.ProposalEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(224, 224),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='mmlayerwise.SegmentationVGG',
        depth=16,
        with_bn=True,
        out_indices=(5,),
        fc_channels=(4096, 4096),
        fc_kernel_size=7,
        # As all layers are normalised.
        dropout_ratio=0.0,
        return_switches=True,
        widen_factor=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/vgg16_bn-6c64b313.pth',
        ),
    ),
    decode_head=dict(
        type='mmlayerwise.DeconvNetHead',
        in_channels=4096,
        fc_kernel_size=7,
        stage_channels=((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64)),
        num_classes=21,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(
        mode='proposals',
        crop_size=(224, 224),
        max_proposals=50,
        context=1.2,
        min_size=112,
        aggregation='max',
    ),
)
