"""Crops at a random place, after padding."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.utils.errors import UserError

BORDERS = {'constant': cv2.BORDER_CONSTANT, 'reflect': cv2.BORDER_REFLECT_101}


@TRANSFORMS.register_module()
class PaddedRandomCrop(BaseTransform):
    """Pad an image on all sides and crop it at a random place: the usual CIFAR augmentation.

    Required and modified keys: img, img_shape.

    Args:
        crop_size: Height and width of the crop, or one number for both.
        padding: Pixels added on each side.
        padding_mode: 'constant' or 'reflect' (without repeating the edge).
        pad_value: Value of the constant padding.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        padding: int = 0,
        padding_mode: str = 'constant',
        pad_value: int = 0,
    ) -> None:
        if padding_mode not in BORDERS:
            raise UserError(
                f'padding_mode must be one of {sorted(BORDERS)}, but is {padding_mode!r}'
            )
        self.crop_size = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        self.padding = padding
        self.padding_mode = padding_mode
        self.pad_value = pad_value

    @cache_randomness
    def random_offset(self, rows: int, columns: int) -> tuple[int, int]:
        """Draw the upper left corner of the crop.

        Args:
            rows: Largest row that fits.
            columns: Largest column that fits.

        Returns:
            Row and column.
        """
        return np.random.randint(rows + 1), np.random.randint(columns + 1)

    def transform(self, results: dict) -> dict:
        """Crop the image of one sample.

        Args:
            results: Result of the pipeline; ``img`` of shape (H, W) or (H, W, C).

        Returns:
            The results with the crop as ``img``.

        Raises:
            UserError: If the padded image is smaller than the crop.
        """
        image = results['img']
        if self.padding:
            image = self._pad(image)
        height, width = self.crop_size
        rows, columns = image.shape[0] - height, image.shape[1] - width
        if rows < 0 or columns < 0:
            raise UserError(
                f'a crop of {height}x{width} does not fit into an image of '
                f'{image.shape[0]}x{image.shape[1]} (padding included); resize the image first or '
                'choose a smaller crop_size'
            )
        row, column = self.random_offset(rows, columns)
        results['img'] = np.ascontiguousarray(image[row : row + height, column : column + width])
        results['img_shape'] = self.crop_size
        return results

    def _pad(self, image: np.ndarray) -> np.ndarray:
        value = [self.pad_value] * 4
        padded = cv2.copyMakeBorder(
            image, *[self.padding] * 4, BORDERS[self.padding_mode], value=value
        )
        # OpenCV drops a last axis of length one.
        return padded.reshape(*padded.shape[:2], *image.shape[2:])

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, padding={self.padding}, '
            f'padding_mode={self.padding_mode!r}, pad_value={self.pad_value})'
        )
