"""Necks: from the backbone's feature maps to what the head takes.

Those that inherit from a toolbox are there where the toolbox is installed.
"""

from importlib.util import find_spec

from mmlayerwise.models.necks.global_average_pooling import (
    AdaptiveAveragePooling,
    GlobalAveragePooling,
)
from mmlayerwise.models.necks.k_max_pooling import KMaxPooling

__all__ = ['AdaptiveAveragePooling', 'GlobalAveragePooling', 'KMaxPooling']

if find_spec('mmdet') is not None:
    from mmlayerwise.models.necks.bifpn import BiFPN
    from mmlayerwise.models.necks.dla_up import DLAUp
    from mmlayerwise.models.necks.passthrough_neck import PassthroughNeck
    from mmlayerwise.models.necks.yolov3_spp_neck import YOLOV3SPPNeck
    from mmlayerwise.models.necks.yolov4_pan import YOLOv4PAN

    __all__ += ['BiFPN', 'DLAUp', 'PassthroughNeck', 'YOLOV3SPPNeck', 'YOLOv4PAN']
