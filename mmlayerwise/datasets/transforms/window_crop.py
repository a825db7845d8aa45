"""Cutting windows with their surroundings out of images and label maps."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmlayerwise.utils.errors import UserError


def extend_boxes(boxes: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge boxes about their centres.

    Args:
        boxes: (x1, y1, x2, y2), of shape (N, 4).
        factor: By which width and height are multiplied.

    Returns:
        Whole numbers of pixels that hold the enlarged boxes, int64 of shape (N, 4); they may leave
        the image.
    """
    centers, halves = (boxes[:, 2:] + boxes[:, :2]) / 2, (boxes[:, 2:] - boxes[:, :2]) * factor / 2
    return np.concatenate([np.floor(centers - halves), np.ceil(centers + halves)], 1).astype(int)


def crop_beyond(image: np.ndarray, box: np.ndarray, fill: int | Sequence[int]) -> np.ndarray:
    """Cut a window that may leave the image.

    Args:
        image: Of shape (H, W) or (H, W, C).
        box: (x1, y1, x2, y2) in whole pixels.
        fill: Value of what lies outside, or one for each channel.

    Returns:
        The window, of shape (y2 - y1, x2 - x1) or (y2 - y1, x2 - x1, C).
    """
    left, top, right, bottom = box
    window = np.full((bottom - top, right - left, *image.shape[2:]), fill, image.dtype)
    height, width = image.shape[:2]
    rows = slice(max(top, 0), min(bottom, height))
    columns = slice(max(left, 0), min(right, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        window[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
            image[rows, columns]
        )
    return window


class WindowCrop(BaseTransform):
    """Cut one window at random, with some context, from image and label map.

    Args:
        context: Factor on width and height of the box.
        image_fill: Value of pixels outside the image, or one for each channel.
        ignore_index: Label of pixels that don't count, and of those outside the image.
    """

    def __init__(
        self, context: float = 1.2, image_fill: int | Sequence[int] = 0, ignore_index: int = 255
    ) -> None:
        self.context = context
        self.image_fill = image_fill
        self.ignore_index = ignore_index

    @abstractmethod
    def windows(self, results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Boxes to choose from, (N, 4), and the class that each is meant for, if any."""

    def transform(self, results: dict) -> dict:
        """Cut a window.

        Args:
            results: Sample with ``img`` and ``gt_seg_map``.

        Returns:
            The sample, cut; as it is if there is nothing to cut out.
        """
        if 'gt_seg_map' not in results:
            raise UserError(
                f'{type(self).__name__} needs gt_seg_map; put LoadAnnotations before it'
            )
        boxes, classes = self.windows(results)
        if not len(boxes):
            return results
        if classes is None:
            chosen = np.random.randint(len(boxes))
        else:
            # Each class of the image is as probable as the others.
            label = np.random.choice(np.unique(classes))
            chosen = np.random.choice(np.flatnonzero(classes == label))
            results['gt_seg_map'] = self.relabel(results['gt_seg_map'], boxes[chosen], label)
        (window,) = extend_boxes(boxes[chosen : chosen + 1], self.context)
        results['img'] = crop_beyond(results['img'], window, self.image_fill)
        for key in results.get('seg_fields', ['gt_seg_map']):
            results[key] = crop_beyond(results[key], window, self.ignore_index)
        results['img_shape'] = results['img'].shape[:2]
        return results

    def relabel(self, labels: np.ndarray, box: np.ndarray, label: int) -> np.ndarray:
        """Labels of a window for one object; all by default."""
        return labels
