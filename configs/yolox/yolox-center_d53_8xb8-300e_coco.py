# The fourth step of YOLOX's road map: one prediction a cell without anchors. The cell of a box's
# centre, on the level of its size, learns it.
_base_ = './yolov3-spp-decoupled_d53_8xb8-mosaic-300e_coco.py'

model = dict(
    type='YOLOX',
    bbox_head=dict(
        _delete_=True,
        type='YOLOXHead',
        num_classes=80,
        in_channels=256,
        feat_channels=256,
        strides=(32, 16, 8),  # the neck gives the coarsest level first
        norm_cfg={{_base_.norm_cfg}},
        act_cfg={{_base_.act_cfg}},
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='mmlayerwise.CenterCellAssigner')),
    test_cfg=dict(_delete_=True, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
)
