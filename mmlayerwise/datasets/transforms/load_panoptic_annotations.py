"""Reads panoptic maps without panopticapi, which no package index has."""

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.datasets.transforms import LoadPanopticAnnotations as MMDetLoadPanopticAnnotations

from mmlayerwise.registry import TRANSFORMS


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """Decode COCO's panoptic colours.

    Args:
        rgb: uint8 of shape (H, W, 3), RGB.

    Returns:
        Segment ids R + 256 G + 256^2 B, int32 of shape (H, W).
    """
    return rgb.astype(np.int32) @ np.array([1, 256, 256**2], dtype=np.int32)


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(MMDetLoadPanopticAnnotations):
    """mmdet's transform of this name, needing no panopticapi.

    Args:
        with_bbox: Whether to load boxes.
        with_label: Whether to load their labels.
        with_mask: Whether to load the masks of things.
        with_seg: Whether to load the semantic map.
        box_type: Class that wraps the boxes.
        imdecode_backend: Decoder of the panoptic maps.
        backend_args: Arguments of mmengine's file client.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = True,
        with_seg: bool = True,
        box_type: str = 'hbox',
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
    ) -> None:
        self.rgb2id = rgb_to_ids
        # Past the parent, whose constructor insists on panopticapi.
        LoadAnnotations.__init__(
            self,
            with_bbox=with_bbox,
            with_label=with_label,
            with_mask=with_mask,
            with_seg=with_seg,
            with_keypoints=False,
            box_type=box_type,
            imdecode_backend=imdecode_backend,
            backend_args=backend_args,
        )
