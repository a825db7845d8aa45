"""Training windows around single objects."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mmlayerwise.datasets.transforms.window_crop import WindowCrop
from mmlayerwise.registry import TRANSFORMS


def component_boxes(
    labels: np.ndarray, excluded: tuple[int, ...], smallest: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Find the boxes of the connected parts of each class.

    Args:
        labels: Label map, integers of shape (H, W).
        excluded: Labels that are no objects.
        smallest: Pixels that a part has at least.

    Returns:
        Boxes (x1, y1, x2, y2) in pixels, float32 of shape (N, 4), and their labels, int64 of shape
        (N,).
    """
    boxes, classes = [], []
    for label in np.setdiff1d(labels, excluded):
        parts, _ = ndimage.label(labels == label)
        sizes = np.bincount(parts.ravel())[1:]
        for size, found in zip(sizes, ndimage.find_objects(parts), strict=True):
            if size >= smallest:
                rows, columns = found
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                classes.append(label)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64)


@TRANSFORMS.register_module()
class ObjectCenteredCrop(WindowCrop):
    """Cut out one object and its surroundings, with all else as background.

    The first stage of DeconvNet's training: the box of an object, 1.2 times as large, in which only
    the object in the centre has its label (Noh, Hong and Han, arXiv 1505.04366, section 4.2). The
    boxes are ``gt_bboxes`` with ``gt_bboxes_labels`` where a transform before loaded them, and
    otherwise those of the connected parts of each class.

    Required keys: ``img``, ``gt_seg_map``. Modified keys: the same, ``img_shape``.

    Args:
        background: Label of everything but the object; None for ``ignore_index`` where the data set
            has no background.
        context: Factor on width and height of the box.
        smallest: Pixels of the smallest part that counts as an object.
        image_fill: Value of pixels outside the image, or one for each channel.
        ignore_index: Label of pixels that don't count, and of those outside the image.
    """

    def __init__(
        self,
        background: int | None = 0,
        context: float = 1.2,
        smallest: int = 100,
        image_fill: int | Sequence[int] = 0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(context, image_fill, ignore_index)
        self.background = ignore_index if background is None else background
        self.smallest = smallest

    def windows(self, results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Boxes of objects and their labels."""
        if 'gt_bboxes' in results:
            return np.asarray(results['gt_bboxes'], np.float32), results['gt_bboxes_labels']
        excluded = (self.background, self.ignore_index)
        return component_boxes(results['gt_seg_map'], excluded, self.smallest)

    def relabel(self, labels: np.ndarray, box: np.ndarray, label: int) -> np.ndarray:
        """Keep the label within the object's box alone."""
        left, top, right, bottom = np.concatenate([np.floor(box[:2]), np.ceil(box[2:])]).astype(int)
        inside = np.zeros(labels.shape, bool)
        inside[max(top, 0) : bottom, max(left, 0) : right] = True
        kept = (labels == self.ignore_index) | ((labels == label) & inside)
        return np.where(kept, labels, np.asarray(self.background, labels.dtype))

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(background={self.background}, context={self.context}, '
            f'smallest={self.smallest})'
        )
