"""Boxes of PASCAL VOC's objects for segmentation."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from mmcv.transforms import BaseTransform

from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.utils.errors import UserError

CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train',
    'tvmonitor',
)  # fmt: skip


@TRANSFORMS.register_module()
class LoadVOCBoxes(BaseTransform):
    """Load the boxes of an image's objects from the XML files of PASCAL VOC.

    All images with label maps have them, those of the additional annotations (SBD) too.

    Required keys: ``img_path``, of an image below JPEGImages, not resized. Added keys:
    ``gt_bboxes``, float32 of shape (N, 4), (x1, y1, x2, y2) from 0 on; ``gt_bboxes_labels``, int64
    of shape (N,), from 1 on as 0 is the background.

    Args:
        folder: Folder of the XML files, beside that of the images.
        classes: Names of the labels 1, 2 and so on; objects of other classes are left out.
    """

    def __init__(self, folder: str = 'Annotations', classes: Sequence[str] = CLASSES) -> None:
        self.folder = folder
        self.labels = {name: number for number, name in enumerate(classes, start=1)}

    def transform(self, results: dict) -> dict:
        """Load the boxes of a sample.

        Args:
            results: Sample with ``img_path``.

        Returns:
            The sample with ``gt_bboxes`` and ``gt_bboxes_labels``.

        Raises:
            UserError: If the file is missing.
        """
        image = Path(results['img_path'])
        path = image.parents[1] / self.folder / f'{image.stem}.xml'
        if not path.is_file():
            raise UserError(f'LoadVOCBoxes: {path}, the boxes of {image}, does not exist')
        boxes, labels = [], []
        for item in ElementTree.parse(path).getroot().iter('object'):
            label = self.labels.get(item.findtext('name'))
            if label is None:
                continue
            x1, y1, x2, y2 = (
                float(item.findtext(f'bndbox/{key}')) for key in ('xmin', 'ymin', 'xmax', 'ymax')
            )
            # VOC counts from 1 and its boxes include their last pixel.
            boxes.append((x1 - 1, y1 - 1, x2, y2))
            labels.append(label)
        results['gt_bboxes'] = np.array(boxes, np.float32).reshape(-1, 4)
        results['gt_bboxes_labels'] = np.array(labels, np.int64)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(folder={self.folder!r})'
