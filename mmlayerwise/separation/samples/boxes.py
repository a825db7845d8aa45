"""Ground-truth boxes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import as_feature_map, roi_align, stride_of
from mmlayerwise.separation.samples.balance import select_balanced
from mmlayerwise.separation.samples.ground_truth import GroundTruth
from mmlayerwise.separation.samples.sampler import (
    Candidates,
    Extracted,
    Sampler,
    is_map,
    random_priorities,
)


class BoxSamples(Sampler):
    """Ground-truth boxes, pooled by RoIAlign at the layer's own stride.

    Every box is measured on every level of a pyramid. Boxes of one image are no neighbours of each
    other: they share background and overlap, so that even random weights would score high.

    Args:
        output_size: Bins a side.
        max_per_image: Boxes to take from one image at most, balanced over its classes.
        max_images: Images to look at, at most.
        exclude_same_image: Whether boxes of one image are no neighbours of each other.
    """

    kind = 'box'

    def __init__(
        self,
        output_size: int = 3,
        max_per_image: int = 50,
        max_images: int = 200,
        exclude_same_image: bool = True,
    ) -> None:
        self.output_size = output_size
        self.max_per_image = max_per_image
        self.max_images = max_images
        self.exclude_same_image = exclude_same_image

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.boxes is None or truth.box_labels is None:
            raise SeparationError('Box samples need ground-truth boxes (gt_instances.bboxes).')
        boxes, labels = truth.boxes.cpu().float(), truth.box_labels.cpu().long()
        if truth.size is not None:
            limit = boxes.new_tensor(truth.size).flip(0).repeat(2)
            boxes = boxes.clamp(min=0).minimum(limit)
        visible = (boxes[:, 2:] > boxes[:, :2]).all(1)
        found = Candidates(
            truth, labels, random_priorities(seed, truth.image, len(labels)), boxes
        ).take(visible)
        return found.take(select_balanced(found.labels, found.priorities, self.max_per_image))

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return is_map(shape, num_images, input_size)

    def extract(  # noqa: D102
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        grid = as_feature_map(output, input_size)
        stride = stride_of(input_size, tuple(grid.shape[2:]))
        pooled = [
            roi_align(grid[number], image.places, stride, self.output_size)
            for number, image in enumerate(batch)
        ]
        return Extracted(
            torch.cat(pooled).flatten(1),
            torch.cat([image.labels for image in batch]),
            torch.cat([image.ids for image in batch]),
        )
