# The second step of YOLOX's road map: classes and boxes in branches of their own.
_base_ = './yolov3-spp_d53_8xb8-300e_coco.py'

model = dict(
    neck=[
        {{_base_.model.neck}},
        # The stems of the decoupled head.
        dict(
            type='ChannelMapper',
            in_channels=[512, 256, 128],
            out_channels=256,
            kernel_size=1,
            norm_cfg={{_base_.norm_cfg}},
            act_cfg={{_base_.act_cfg}},
        ),
    ],
    bbox_head=dict(
        _delete_=True,
        type='mmlayerwise.YOLOV3DecoupledHead',
        num_classes=80,
        in_channels=[256, 256, 256],
        feat_channels=256,
        norm_cfg={{_base_.norm_cfg}},
        act_cfg={{_base_.act_cfg}},
    ),
)
