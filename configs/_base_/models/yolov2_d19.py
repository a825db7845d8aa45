# YOLOv2 on Darknet-19 with COCO's 80 classes: 50,962,889 parameters.
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0, 0, 0],
        std=[255, 255, 255],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        # Another size every 10 iterations.
        batch_augments=[
            dict(type='BatchSyncRandomResize', random_size_range=(320, 608), interval=10)
        ],
    ),
    backbone=dict(type='mmlayerwise.Darknet19'),
    neck=dict(type='mmlayerwise.PassthroughNeck'),
    bbox_head=dict(type='mmlayerwise.YOLOv2Head', num_classes=80),
    test_cfg=dict(
        score_thr=0.005,
        nms_pre=1000,
        min_bbox_size=0,
        nms=dict(type='nms', iou_threshold=0.45),
        max_per_img=100,
    ),
)
