"""Small embedded pictures of samples."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

# Longest side in pixels; sharp at twice the pixel density of the size it is shown at.
SIDE = 96
# What is seen around a pixel, and around a box in proportion to its size.
PIXEL_CONTEXT = 32
BOX_CONTEXT = 0.15
# Up to this side a picture is stored without loss: smaller so, and it is shown enlarged.
LOSSLESS_SIDE = 40
_QUALITY = 80
_MARK = (255, 0, 160)


def thumbnail(picture: np.ndarray, place: Sequence[float] = ()) -> str:
    """Cut a sample out of its picture and encode it.

    Args:
        picture: uint8 of shape (H, W, 3), RGB.
        place: Nothing for the whole picture, (left, top, right, bottom) for a box, (row, column)
            for a pixel, which is marked by a ring.

    Returns:
        A ``data:`` address of a PNG (small pictures) or JPEG.
    """
    picture = crop(picture, place)
    longest = max(picture.shape[:2])
    if longest > SIDE:
        height, width = (max(1, round(side * SIDE / longest)) for side in picture.shape[:2])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return _encoded(picture, lossless=longest <= LOSSLESS_SIDE)


def crop(picture: np.ndarray, place: Sequence[float] = ()) -> np.ndarray:
    """Cut a sample out of its picture; arguments as :func:`thumbnail`.

    Returns:
        uint8 of shape (H', W', 3), RGB.
    """
    if len(place) == 4:
        return _around_box(picture, place)
    if len(place) == 2:
        return _around_pixel(picture, place)
    return picture


def _around_box(picture: np.ndarray, box: Sequence[float]) -> np.ndarray:
    left, top, right, bottom = box
    across, down = BOX_CONTEXT * (right - left), BOX_CONTEXT * (bottom - top)
    return _cut(picture, top - down, bottom + down, left - across, right + across)


def _around_pixel(picture: np.ndarray, place: Sequence[float]) -> np.ndarray:
    row, column = (int(number) for number in place)
    marked = np.ascontiguousarray(picture).copy()
    cv2.circle(marked, (column, row), 5, _MARK, 2, cv2.LINE_AA)
    reach = PIXEL_CONTEXT
    return _cut(marked, row - reach, row + reach, column - reach, column + reach)


def _cut(picture: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """The part within the limits, at least one pixel."""
    height, width = picture.shape[:2]
    top, left = min(max(0, int(top)), height - 1), min(max(0, int(left)), width - 1)
    bottom = min(height, max(top + 1, int(np.ceil(bottom))))
    right = min(width, max(left + 1, int(np.ceil(right))))
    return picture[top:bottom, left:right]


def _encoded(picture: np.ndarray, lossless: bool) -> str:
    kind, options = ('png', []) if lossless else ('jpeg', [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    _, content = cv2.imencode(f'.{kind}', np.ascontiguousarray(picture[..., ::-1]), options)
    return f'data:image/{kind};base64,{base64.b64encode(content.tobytes()).decode()}'
