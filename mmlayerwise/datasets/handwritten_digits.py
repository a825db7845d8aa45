"""The 1,797 real handwritten digits that scikit-learn ships, with one fixed split."""

from functools import cache
from typing import Literal, get_args

import numpy as np

from mmlayerwise.utils.errors import UserError

Split = Literal['train', 'test']
SPLITS: tuple[str, ...] = get_args(Split)
NUM_CLASSES = 10
# scikit-learn keeps the order of the UCI file, in which a writer's digits are neighbours: cutting
# the file once, instead of drawing at random, tests on writers that were hardly seen in training.
NUM_TRAIN = 1297


@cache
def load_handwritten_digits(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Load the digits of one split (Alpaydin and Kaynak, UCI Optical Recognition of Digits, 1998).

    Args:
        split: ``'train'`` for the first 1,297 digits, ``'test'`` for the other 500.

    Returns:
        The images, uint8 of shape (N, 8, 8) with ink from 0 to 255, and the labels, int64 of
        shape (N,). Both are read-only, because every caller shares them.
    """
    from sklearn.datasets import load_digits

    if split not in SPLITS:
        raise UserError(f'split must be one of {SPLITS}, but got {split!r}')
    images, labels = load_digits(return_X_y=True)
    part = slice(NUM_TRAIN) if split == 'train' else slice(NUM_TRAIN, None)
    # The file counts the inked pixels of 4 x 4 blocks: 0 to 16.
    images = np.round(images[part].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = labels[part].astype(np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels
