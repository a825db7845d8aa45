# mmdet's Mask R-CNN with a ResNet-18 of a third of its width, trained from scratch.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

channels = 64
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3, bgr_to_rgb=False),
    backbone=dict(
        depth=18,
        base_channels=24,
        stem_channels=24,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[24, 48, 96, 192], out_channels=channels, num_outs=4),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[6], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=10),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(
            num_convs=2,
            in_channels=channels,
            conv_out_channels=channels,
            num_classes=10,
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=100),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=500, max_per_img=100),
        rcnn=dict(max_per_img=50),
    ),
)
