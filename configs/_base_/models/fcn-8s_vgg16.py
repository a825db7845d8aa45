# FCN-8s with maps that stay aligned with the image; configs/fcn has the paper's padding of 100.
input_padding = 1
fc_padded = True
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
        out_indices=(2, 3, 5),
        input_padding=input_padding,
        fc_padded=fc_padded,
        fc_channels=(4096, 4096),
        fc_kernel_size=7,
        widen_factor=1.0,
        init_cfg=dict(
            type='Pretrained', checkpoint='https://download.pytorch.org/models/vgg16-397923af.pth'
        ),
    ),
    decode_head=dict(
        type='mmlayerwise.FCNSkipHead',
        in_channels=(4096, 512, 256),
        in_index=(2, 1, 0),
        input_padding=input_padding,
        fc_padded=fc_padded,
        fc_kernel_size=7,
        num_classes=21,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
