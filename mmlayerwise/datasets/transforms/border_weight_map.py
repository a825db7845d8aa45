"""Weights that make a network learn the gaps between touching cells."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from scipy import ndimage

from mmlayerwise.registry import TRANSFORMS

# Beyond so many standard deviations the border term is below 1e-6 of its factor.
CUTOFF = 6


@TRANSFORMS.register_module()
class BorderWeightMap(BaseTransform):
    """Weigh pixels by the frequency of their class and by how narrow the gap around them is.

    Ronneberger, Fischer and Brox (2015), equation 2:
    ``w = w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))`` with the distances d1 and d2 to the nearest and
    the second nearest cell. Cells are the 4-connected regions that are not background. The border
    term is that of the background's pixels, so inside a cell the weight is w_c. The transform
    belongs behind all that moves pixels.

    Required keys: ``gt_seg_map``. Added keys: ``border_weight_map``, float32 of shape (H, W).

    Args:
        border_weight: w0.
        sigma: Width of the border term in pixels.
        background: Label of the background.
        class_weights: w_c by label; by default the inverse frequency of the class in the image,
            times a factor by which the mean over its pixels is 1.
        ignore_index: Label without a weight.
    """

    def __init__(
        self,
        border_weight: float = 10.0,
        sigma: float = 5.0,
        background: int = 0,
        class_weights: Sequence[float] | None = None,
        ignore_index: int = 255,
    ) -> None:
        self.border_weight = border_weight
        self.sigma = sigma
        self.background = background
        self.class_weights = None if class_weights is None else np.asarray(class_weights)
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Add the map.

        Args:
            results: Sample with ``gt_seg_map``, integers of shape (H, W).

        Returns:
            The sample with ``border_weight_map``.
        """
        labels = results['gt_seg_map']
        known = labels != self.ignore_index
        cells, count = ndimage.label(known & (labels != self.background))
        weights = self._weigh_classes(labels, known)
        if count > 1:
            gaps = sum(self._two_nearest(cells, count))
            border = self.border_weight * np.exp(-(gaps**2) / (2 * self.sigma**2))
            weights += np.where(labels == self.background, border, 0)
        results['border_weight_map'] = weights.astype(np.float32)
        return results

    def _weigh_classes(self, labels: np.ndarray, known: np.ndarray) -> np.ndarray:
        weights = np.zeros(labels.shape)
        if self.class_weights is not None:
            weights[known] = self.class_weights[labels[known]]
            return weights
        classes, counts = np.unique(labels[known], return_counts=True)
        for label, size in zip(classes, counts, strict=True):
            weights[labels == label] = known.sum() / (len(classes) * size)
        return weights

    def _two_nearest(self, cells: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances to the nearest and second nearest cell; infinite where far away."""
        reach = int(np.ceil(CUTOFF * self.sigma))
        first, second = np.full((2, *cells.shape), np.inf)
        for number, box in enumerate(ndimage.find_objects(cells, count), start=1):
            window = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in box)
            distance = ndimage.distance_transform_edt(cells[window] != number)
            second[window] = np.minimum(second[window], np.maximum(first[window], distance))
            first[window] = np.minimum(first[window], distance)
        return first, second

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(border_weight={self.border_weight}, sigma={self.sigma}, '
            f'background={self.background})'
        )
