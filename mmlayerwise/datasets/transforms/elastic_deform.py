"""Smooth random deformations."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from scipy import ndimage

from mmlayerwise.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ElasticDeform(BaseTransform):
    """Bend an image and its labels by random displacements on a coarse grid.

    Ronneberger, Fischer and Brox (2015), section 3.1: displacements of a 3x3 grid over the image
    from a normal distribution with a deviation of 10 pixels, bicubic interpolation for those of
    the pixels between. What comes from outside the image is mirrored.

    Required keys: ``img`` of shape (H, W) or (H, W, C); the label maps named by ``seg_fields``.
    Modified keys: the same.

    Args:
        grid_size: Points of the grid along each side, at least two.
        sigma: Standard deviation of the displacements in pixels.
        prob: Probability of deforming a sample.

    Raises:
        ValueError: If the grid has fewer than two points a side.
    """

    def __init__(self, grid_size: int = 3, sigma: float = 10.0, prob: float = 1.0) -> None:
        if grid_size < 2:
            raise ValueError(f'grid_size must be at least 2, but is {grid_size}')
        self.grid_size = grid_size
        self.sigma = sigma
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Deform a sample.

        Args:
            results: Sample with ``img`` and the label maps of ``seg_fields``.

        Returns:
            The sample, deformed.
        """
        if np.random.random() >= self.prob:
            return results
        displacements = np.random.normal(0, self.sigma, (2, self.grid_size, self.grid_size))
        sources = self.source_positions(displacements, results['img'].shape[:2])
        results['img'] = self._remap(results['img'], sources, cv2.INTER_LINEAR)
        for key in results.get('seg_fields', []):
            results[key] = self._remap(results[key], sources, cv2.INTER_NEAREST)
        return results

    def source_positions(self, displacements: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Where each pixel of the deformed image comes from.

        Args:
            displacements: Vertical and horizontal ones of the grid's points in pixels, of shape
                (2, grid_size, grid_size); the grid's corners are the image's.
            size: Height and width of the image.

        Returns:
            Rows and columns, float32 of shape (2, H, W).
        """
        lines = [np.linspace(0, self.grid_size - 1, side) for side in size]
        positions = np.meshgrid(*lines, indexing='ij')
        smooth = [
            ndimage.map_coordinates(part, positions, order=3, mode='nearest')
            for part in displacements
        ]
        return (np.indices(size) + smooth).astype(np.float32)

    @staticmethod
    def _remap(image: np.ndarray, sources: np.ndarray, interpolation: int) -> np.ndarray:
        rows, columns = sources
        return cv2.remap(image, columns, rows, interpolation, borderMode=cv2.BORDER_REFLECT_101)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(grid_size={self.grid_size}, sigma={self.sigma}, '
            f'prob={self.prob})'
        )
