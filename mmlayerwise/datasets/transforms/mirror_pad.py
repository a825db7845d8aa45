"""Context beyond the border of an image."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlayerwise.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MirrorPad(BaseTransform):
    """Continue an image and its labels by mirroring.

    In front of a random crop it lets the tiles of a network without padding reach the border of
    the image: the U-Net of Ronneberger, Fischer and Brox (2015) has a margin of 92 pixels.

    Required keys: ``img``; the label maps named by ``seg_fields``. Modified keys: the same and
    ``img_shape``, ``pad_shape``.

    Args:
        margin: Pixels on each side.

    Raises:
        ValueError: If the margin is negative.
    """

    def __init__(self, margin: int) -> None:
        if margin < 0:
            raise ValueError(f'margin must not be negative, but is {margin}')
        self.margin = margin

    def transform(self, results: dict) -> dict:
        """Pad a sample.

        Args:
            results: Sample with ``img`` and the label maps of ``seg_fields``.

        Returns:
            The sample, higher and wider by twice the margin.
        """
        for key in ('img', *results.get('seg_fields', [])):
            array = results[key]
            padding = [(self.margin, self.margin)] * 2 + [(0, 0)] * (array.ndim - 2)
            results[key] = np.pad(array, padding, mode='reflect')
        results['img_shape'] = results['pad_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(margin={self.margin})'
