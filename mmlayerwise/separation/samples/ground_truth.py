"""What is known about the images of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
        masks: bool of shape (num_boxes, height, width): pixels of every instance.
        scale: (horizontal, vertical) pixels of the input a pixel of the original image became.
    """

    image: int
    size: tuple[int, int] | None = None
    label: int | None = None
    boxes: Tensor | None = None
    box_labels: Tensor | None = None
    label_map: Tensor | None = None
    ignore_label: int = 255
    masks: Tensor | None = None
    scale: tuple[float, float] = (1.0, 1.0)

    def check_labels(self, num_classes: int | None) -> None:
        """Refuse labels that are no class.

        Args:
            num_classes: How many classes there are; None where that is not known.

        Raises:
            SeparationError: For a label below 0 or not below ``num_classes``.
        """
        for name, labels in (
            ('gt_label', None if self.label is None else torch.tensor([self.label])),
            ('gt_instances.labels', self.box_labels),
            ('gt_sem_seg', self._labelled_pixels()),
        ):
            if labels is None or not labels.numel():
                continue
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or (num_classes is not None and high >= num_classes):
                bad = low if low < 0 else high
                known = '' if num_classes is None else f' of the {num_classes} classes'
                raise SeparationError(
                    f'Label {bad} ({name} of image {self.image}) is none{known}: labels count from '
                    '0. Check the annotations, metainfo["classes"] and, for label maps, '
                    'ignore_index and reduce_zero_label.'
                )

    def without_pictures(self) -> 'GroundTruth':
        """The ground truth less what takes the memory of whole images."""
        return replace(self, label_map=None, masks=None)

    def _labelled_pixels(self) -> Tensor | None:
        if self.label_map is None:
            return None
        return self.label_map[self.label_map != self.ignore_label]


def ground_truths(
    truth: Any, first_image: int = 0, size: tuple[int, int] | None = None
) -> list[GroundTruth]:
    """Wrap plain image labels of a batch, or pass a list of :class:`GroundTruth` on.

    Args:
        truth: Integers of shape (num_images,) or a list of ground truths.
        first_image: Number of the batch's first image.
        size: (height, width) of the images, where known.
    """
    if isinstance(truth, Sequence) and all(isinstance(one, GroundTruth) for one in truth):
        return list(truth)
    labels = torch.as_tensor(truth)
    if labels.ndim != 1 or labels.is_floating_point():
        raise SeparationError(
            'The second part of a batch must be one integer label an image or a list of '
            f'GroundTruth, got {type(truth).__name__} of shape {tuple(labels.shape)}.'
        )
    return [GroundTruth(first_image + n, size, label) for n, label in enumerate(labels.tolist())]
