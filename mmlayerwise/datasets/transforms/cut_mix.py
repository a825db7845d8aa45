"""CutMix for detection."""

import random
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.structures.bbox import HorizontalBoxes, autocast_box_type

from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.utils.errors import UserError


@TRANSFORMS.register_module()
class CutMix(BaseTransform):
    """Fill a random rectangle of an image with the same rectangle of another image.

    Yun et al., 2019 (https://arxiv.org/abs/1905.04899), which YOLOv4 takes up: the rectangle has
    the share 1 - lambda of the area and the image's ratio of sides, lambda is drawn from
    Beta(alpha, alpha), its centre uniformly; what leaves the image is cut off. In place of the mix
    of two labels, objects keep the box of what is still to be seen of them: an object of the first
    image loses what the rectangle covers, one of the second image what lies outside. Objects of
    which less than ``min_visible`` is left are dropped.

    The second image is scaled to cover the first and cropped at a random place. For the pipeline of
    mmdet's ``MultiImageMixDataset``.

    Required keys: img, mix_results, and of both images gt_bboxes, gt_bboxes_labels,
    gt_ignore_flags. Modified keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags.

    Args:
        alpha: Of the beta distribution; 1 draws shares uniformly.
        prob: Probability of mixing.
        min_visible: Least share of a box's area that must be left to keep it.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(self, alpha: float = 1.0, prob: float = 0.5, min_visible: float = 0.2) -> None:
        if alpha <= 0:
            raise UserError(f'CutMix: alpha must be positive, but is {alpha}')
        for name, value in (('prob', prob), ('min_visible', min_visible)):
            if not 0 <= value <= 1:
                raise UserError(f'CutMix: {name} must be in [0, 1], but is {value}')
        self.alpha = alpha
        self.prob = prob
        self.min_visible = min_visible

    @cache_randomness
    def get_indexes(self, dataset: Any) -> int:
        """Choose the second image.

        Args:
            dataset: The data set that is mixed.

        Returns:
            Its index.
        """
        return random.randrange(len(dataset))

    @cache_randomness
    def draw_rectangle(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw the rectangle.

        Args:
            height: Of the image in pixels.
            width: Of the image in pixels.

        Returns:
            x1, y1, x2, y2 in whole pixels, inside the image.
        """
        side = np.sqrt(1 - np.random.beta(self.alpha, self.alpha))
        x, y = np.random.uniform(0, width), np.random.uniform(0, height)
        half_width, half_height = side * width / 2, side * height / 2
        left, top = max(0, round(x - half_width)), max(0, round(y - half_height))
        right, bottom = min(width, round(x + half_width)), min(height, round(y + half_height))
        return left, top, right, bottom

    @cache_randomness
    def draw_offset(self, spare_height: int, spare_width: int) -> tuple[int, int]:
        """Draw the row and column where the second image's crop begins."""
        return random.randint(0, spare_height), random.randint(0, spare_width)

    @cache_randomness
    def draw_whether(self) -> bool:
        """Draw whether to mix."""
        return random.random() < self.prob

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Mix the image with the one in ``mix_results``."""
        if not self.draw_whether():
            return results
        height, width = results['img'].shape[:2]
        other = self._cover(results['mix_results'][0], height, width)
        x1, y1, x2, y2 = rectangle = self.draw_rectangle(height, width)
        image = results['img'].copy()
        image[y1:y2, x1:x2] = other['img'][y1:y2, x1:x2]
        uncovered = remove_rectangle(_numbers(results), rectangle)
        inside = _clip(_numbers(other), rectangle)
        parts = [self._keep(results, uncovered), self._keep(other, inside)]
        results['img'] = image
        results['gt_bboxes'] = HorizontalBoxes(np.concatenate([part[0] for part in parts]))
        for number, key in enumerate(('gt_bboxes_labels', 'gt_ignore_flags'), 1):
            results[key] = np.concatenate([part[number] for part in parts])
        return results

    def _cover(self, other: dict, height: int, width: int) -> dict:
        """Scale an image to cover height and width, and crop it."""
        image = other['img']
        factor = max(height / image.shape[0], width / image.shape[1])
        size = (
            max(width, round(image.shape[1] * factor)),
            max(height, round(image.shape[0] * factor)),
        )
        scale = (size[0] / image.shape[1], size[1] / image.shape[0])
        row, column = self.draw_offset(size[1] - height, size[0] - width)
        image = mmcv.imresize(image, size)[row : row + height, column : column + width]
        boxes = other['gt_bboxes'].clone()
        boxes.rescale_(scale)
        boxes.translate_((-column, -row))
        return {**other, 'img': image, 'gt_bboxes': boxes}

    def _keep(self, sample: dict, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, labels and flags of the objects of which enough is left.

        Args:
            sample: The image's results.
            visible: The box of what is left of each object, and its area; (N, 5).
        """
        areas = np.maximum(_areas(_numbers(sample)), np.finfo(np.float32).eps)
        keep = (visible[:, 4] > 0) & (visible[:, 4] >= self.min_visible * areas)
        return (
            visible[keep, :4],
            sample['gt_bboxes_labels'][keep],
            sample['gt_ignore_flags'][keep],
        )

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(alpha={self.alpha}, prob={self.prob}, '
            f'min_visible={self.min_visible})'
        )


def _numbers(sample: dict) -> np.ndarray:
    return sample['gt_bboxes'].tensor.numpy().astype(np.float32)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.clip(boxes[:, 2:4] - boxes[:, :2], 0, None), axis=1)


def _clip(boxes: np.ndarray, rectangle: tuple[int, int, int, int]) -> np.ndarray:
    """The part of boxes inside a rectangle and its area, of shape (N, 5)."""
    low, high = np.tile(rectangle[:2], 2), np.tile(rectangle[2:], 2)
    clipped = np.clip(boxes, low, high).astype(np.float32)
    return np.concatenate([clipped, _areas(clipped)[:, None]], axis=1)


def remove_rectangle(boxes: np.ndarray, rectangle: tuple[int, int, int, int]) -> np.ndarray:
    """Cut a rectangle out of boxes.

    Args:
        boxes: Of shape (N, 4) as x1, y1, x2, y2.
        rectangle: x1, y1, x2, y2.

    Returns:
        Of shape (N, 5): the smallest box round what is left, and the area of what is left. A side
        of a box moves only where the rectangle covers it from end to end.
    """
    rest = boxes.copy()
    area = _areas(boxes) - _clip(boxes, rectangle)[:, 4]
    for across, along in ((0, 1), (1, 0)):
        covers = (rectangle[along] <= boxes[:, along]) & (
            rectangle[along + 2] >= boxes[:, along + 2]
        )
        low, high = boxes[:, across], boxes[:, across + 2]
        start, end = rectangle[across], rectangle[across + 2]
        cuts_low = covers & (start <= low) & (end > low)
        cuts_high = covers & (end >= high) & (start < high)
        rest[:, across] = np.where(cuts_low, np.minimum(end, high), low)
        rest[:, across + 2] = np.where(cuts_high, np.maximum(start, low), high)
    return np.concatenate([rest, area[:, None]], axis=1)
