# The third step of YOLOX's road map: YOLOv3-SPP's anchors, a decoupled head, strong augmentation.
_base_ = './yolox_d53_8xb8-300e_coco.py'

model = dict(
    type='YOLOV3',
    bbox_head=dict(
        _delete_=True,
        type='mmlayerwise.YOLOV3DecoupledHead',
        num_classes=80,
        in_channels=[256, 256, 256],
        feat_channels=256,
        norm_cfg={{_base_.norm_cfg}},
        act_cfg={{_base_.act_cfg}},
    ),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0),
    ),
    test_cfg=dict(
        _delete_=True,
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.01,
        nms=dict(type='nms', iou_threshold=0.65),
        max_per_img=300,
    ),
)
