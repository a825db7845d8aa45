# YOLOX on Darknet-53, the end of the paper's road map: anchor-free, decoupled head, SimOTA, strong
# augmentation (mosaic, mixup) until the last 15 epochs.
_base_ = 'mmdet::yolox/yolox_s_8xb8-300e_coco.py'
custom_imports = dict(imports=['mmlayerwise'], allow_failed_imports=False)

norm_cfg = dict(type='BN', momentum=0.03, eps=0.001)
act_cfg = dict(type='LeakyReLU', negative_slope=0.1)
model = dict(
    backbone=dict(
        _delete_=True,
        type='Darknet',
        depth=53,
        out_indices=(3, 4, 5),
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        norm_eval=False,  # trained from scratch
    ),
    neck=[
        dict(
            type='mmlayerwise.YOLOV3SPPNeck',
            num_scales=3,
            in_channels=[1024, 512, 256],
            out_channels=[512, 256, 128],
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        ),
        # The stems of the decoupled head.
        dict(
            type='ChannelMapper',
            in_channels=[512, 256, 128],
            out_channels=256,
            kernel_size=1,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        ),
    ],
    # The neck gives the coarsest level first.
    bbox_head=dict(in_channels=256, feat_channels=256, strides=(32, 16, 8), act_cfg=act_cfg),
)
