"""Heads of one-stage detectors; there where mmdet is installed."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmdet') is not None:
    from mmlayerwise.models.dense_heads.centernet_stacked_head import CenterNetStackedHead
    from mmlayerwise.models.dense_heads.efficientdet_sepbn_head import EfficientDetSepBNHead
    from mmlayerwise.models.dense_heads.yolo9000_head import YOLO9000Head
    from mmlayerwise.models.dense_heads.yolov1_head import YOLOv1Head
    from mmlayerwise.models.dense_heads.yolov2_head import YOLOv2Head
    from mmlayerwise.models.dense_heads.yolov3_decoupled_head import YOLOV3DecoupledHead
    from mmlayerwise.models.dense_heads.yolov3_iou_head import YOLOV3IoUHead
    from mmlayerwise.models.dense_heads.yolov4_head import YOLOv4Head
    from mmlayerwise.models.dense_heads.yolox_nms_free_head import YOLOXNMSFreeHead

    __all__ += [
        'CenterNetStackedHead',
        'EfficientDetSepBNHead',
        'YOLO9000Head',
        'YOLOV3DecoupledHead',
        'YOLOV3IoUHead',
        'YOLOXNMSFreeHead',
        'YOLOv1Head',
        'YOLOv2Head',
        'YOLOv4Head',
    ]
