"""Single handwritten digits for classification."""

from typing import Any

import numpy as np

from mmlayerwise.datasets.base_classification_dataset import BaseClassificationDataset
from mmlayerwise.datasets.digit_scene_generator import DIGIT_CLASSES
from mmlayerwise.datasets.handwritten_digits import load_handwritten_digits
from mmlayerwise.registry import DATASETS


@DATASETS.register_module()
class Digits(BaseClassificationDataset):
    """The 1,797 handwritten digits of scikit-learn, 8x8 grey: 1,297 to train and 500 to test.

    Nothing has to be downloaded. Arguments as in :class:`BaseClassificationDataset`, but for
    ``data_root``, of which there is no need.
    """

    METAINFO = dict(classes=DIGIT_CLASSES)

    def __init__(self, data_root: str = '', **kwargs: Any) -> None:
        super().__init__(data_root=data_root, **kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Take the split's digits from the installed package.

        Returns:
            uint8 images of shape (N, 8, 8) and labels of shape (N,).
        """
        return load_handwritten_digits(self.split)
