"""Digits of which some carry a wrong label; `custom_imports` finds them."""

import numpy as np

from mmlayerwise.datasets import Digits
from mmlayerwise.registry import DATASETS

SHARE = 0.08


@DATASETS.register_module()
class MislabelledDigits(Digits):
    """The first digits, every twelfth or so with the label of another class."""

    SIZE = 300

    def load_arrays(self):
        images, labels = super().load_arrays()
        images, labels = images[: self.SIZE], labels[: self.SIZE].copy()
        planted = planted_images(self.SIZE)
        shift = np.random.default_rng(1).integers(1, 10, len(planted))
        labels[planted] = (labels[planted] + shift) % 10
        return images, labels


def planted_images(size=MislabelledDigits.SIZE):
    """Numbers of the images with a wrong label."""
    return np.random.default_rng(0).choice(size, round(SHARE * size), replace=False)
