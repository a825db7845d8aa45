"""What is known about the images of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError


@dataclass
class GroundTruth:
    """What is known about one image of a batch; the fields that don't apply are None.

    Attributes:
        image: Number of the image in its data set.
        size: (height, width) of the image within the batch, without padding.
        label: Class of the whole image.
        boxes: float of shape (num_boxes, 4): left, top, right, bottom in pixels of the input.
        box_labels: int64 of shape (num_boxes,).
        label_map: Integers of shape ``size``: class of every pixel.
        ignore_label: Value in ``label_map`` that means no class.
    """

    image: int
    size: tuple[int, int] | None = None
    label: int | None = None
    boxes: Tensor | None = None
    box_labels: Tensor | None = None
    label_map: Tensor | None = None
    ignore_label: int = 255


def ground_truths(truth: Any, first_image: int = 0) -> list[GroundTruth]:
    """Wrap plain image labels of a batch, or pass a list of :class:`GroundTruth` on.

    Args:
        truth: Integers of shape (num_images,) or a list of ground truths.
        first_image: Number of the batch's first image.
    """
    if isinstance(truth, Sequence) and all(isinstance(one, GroundTruth) for one in truth):
        return list(truth)
    labels = torch.as_tensor(truth)
    if labels.ndim != 1 or labels.is_floating_point():
        raise SeparationError(
            'The second part of a batch must be one integer label an image or a list of '
            f'GroundTruth, got {type(truth).__name__} of shape {tuple(labels.shape)}.'
        )
    return [GroundTruth(first_image + n, label=label) for n, label in enumerate(labels.tolist())]
