"""The label of an image and what a classifier says about it."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import BaseDataElement

LabelLike = int | np.integer | Sequence[int] | np.ndarray | torch.Tensor


def as_label(value: LabelLike) -> torch.Tensor:
    """Turn one label or several into a one-dimensional int64 tensor.

    Args:
        value: A class index, or a sequence of them.

    Returns:
        Tensor of shape (1,) for one index, (K,) for K of them.
    """
    return torch.as_tensor(value, dtype=torch.long).reshape(-1)


class ClassificationDataSample(BaseDataElement):
    """Ground truth and prediction of one image, with mmpretrain's field names.

    Attributes:
        gt_label: int64 tensor of shape (1,), the true class.
        pred_label: int64 tensor of shape (1,), the class of the highest score.
        pred_score: float tensor of shape (num_classes,), class probabilities.
    """

    def set_gt_label(self, value: LabelLike) -> 'ClassificationDataSample':
        """Set the true class.

        Args:
            value: The class index.

        Returns:
            This sample.
        """
        self.gt_label = as_label(value)
        return self

    def set_pred_label(self, value: LabelLike) -> 'ClassificationDataSample':
        """Set the predicted class.

        Args:
            value: The class index.

        Returns:
            This sample.
        """
        self.pred_label = as_label(value)
        return self

    def set_pred_score(self, value: torch.Tensor) -> 'ClassificationDataSample':
        """Set the class probabilities.

        Args:
            value: Float tensor of shape (num_classes,).

        Returns:
            This sample.

        Raises:
            ValueError: If the tensor is not one-dimensional.
        """
        if value.ndim != 1:
            raise ValueError(
                f'pred_score must have shape (num_classes,), but has {tuple(value.shape)}'
            )
        self.pred_score = value
        return self
