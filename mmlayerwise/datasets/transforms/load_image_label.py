"""The label of a whole image as a detector's annotation."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes

from mmlayerwise.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageLabel(BaseTransform):
    """Give an image that has only a label one box, the whole image, and mark it as such.

    It takes the place of ``LoadAnnotations`` behind ``LoadImageFromFile``; ``PackDetInputs`` keeps
    the mark with ``meta_keys=(..., 'image_level')``. :class:`~mmlayerwise.models.dense_heads.
    yolo9000_head.YOLO9000Head` learns from the label and not from the box.

    Required keys: img, image_label. Added keys: gt_bboxes, gt_bboxes_labels, gt_ignore_flags,
    image_level.
    """

    def transform(self, results: dict) -> dict:
        """Add the annotation."""
        height, width = results['img'].shape[:2]
        results['gt_bboxes'] = HorizontalBoxes(np.array([[0, 0, width, height]], dtype=np.float32))
        results['gt_bboxes_labels'] = np.array([results['image_label']], dtype=np.int64)
        results['gt_ignore_flags'] = np.zeros(1, dtype=bool)
        results['image_level'] = True
        return results
