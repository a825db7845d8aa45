"""Pixels at a layer's own stride."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import as_feature_map, stride_of
from mmlayerwise.separation.samples.balance import select_balanced
from mmlayerwise.separation.samples.ground_truth import GroundTruth
from mmlayerwise.separation.samples.sampler import (
    Candidates,
    Extracted,
    Sampler,
    check_caps,
    is_map,
    random_priorities,
)


class PixelSamples(Sampler):
    """Pixels, each as the cell of the layer's map it lies in, with the cell's majority label.

    Cells whose majority is the ignore label are left out; a cell that several pixels fall into
    counts once. Pixels of one image are no neighbours of each other: adjacent ones nearly always
    agree, which would say nothing about the layer.

    Args:
        max_per_image: Pixels to take from one image, balanced over its classes.
        max_images: Images to look at, at most.
        max_per_class: Pixels of one class to take from one image, at most; None for no limit.
        exclude_same_image: Whether pixels of one image are no neighbours of each other.
    """

    kind = 'pixel'

    def __init__(
        self,
        max_per_image: int = 50,
        max_images: int = 100,
        exclude_same_image: bool = True,
        max_per_class: int | None = None,
    ) -> None:
        check_caps(max_per_image=max_per_image, max_images=max_images, max_per_class=max_per_class)
        self.max_per_image = max_per_image
        self.max_images = max_images
        self.exclude_same_image = exclude_same_image
        self.max_per_class = max_per_class

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.label_map is None:
            raise SeparationError(
                f'{self.kind.capitalize()} samples need a label map (gt_sem_seg).'
            )
        label_map = truth.label_map.cpu().long()
        places = (label_map != truth.ignore_label).nonzero()
        labels = label_map[places[:, 0], places[:, 1]]
        found = Candidates(truth, labels, random_priorities(seed, truth.image, len(labels)), places)
        return found.take(
            select_balanced(found.labels, found.priorities, self.max_per_image, self.max_per_class)
        )

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return is_map(shape, num_images, input_size)

    def extract(  # noqa: D102
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        grid = self._grid(output, input_size)
        height, width = grid.shape[2:]
        stride = stride_of(input_size, (height, width))
        features, labels, ids, cells = [], [], [], []
        for number, image in enumerate(batch):
            scale = image.places.new_tensor(stride, dtype=torch.float64)
            limit = torch.tensor([height - 1, width - 1])
            cell = ((image.places + 0.5) / scale).floor().long().minimum(limit)
            label = majority_label(image.truth, cell, stride)
            kept = label != image.truth.ignore_label
            row, column = cell[kept].unbind(1)
            flat = row * width + column
            index = flat.to(grid.device)
            features.append(grid[number].flatten(1)[:, index].T.float())
            labels.append(label[kept])
            ids.append(image.ids[kept])
            cells.append(image.truth.image * height * width + flat)
        return Extracted(torch.cat(features), torch.cat(labels), torch.cat(ids), torch.cat(cells))

    def _grid(self, output: Tensor, input_size: tuple[int, int]) -> Tensor:
        """The output as (images, channels, height, width)."""
        return as_feature_map(output, input_size)


def majority_label(truth: GroundTruth, cells: Tensor, stride: tuple[float, float]) -> Tensor:
    """Most frequent label of the pixels in each cell, the lowest among equals.

    Args:
        truth: The image with its label map; pixels outside of it don't count.
        cells: int64 of shape (num_cells, 2): row and column.
        stride: Pixels a cell covers, (vertical, horizontal).

    Returns:
        int64 of shape (num_cells,); the ignore label takes part and may win.
    """
    label_map = truth.label_map.cpu().long()
    values, compact = label_map.unique(return_inverse=True)
    axes = []
    for axis, step in enumerate(stride):
        first = (cells[:, axis] * step).floor().long()
        last = torch.maximum(((cells[:, axis] + 1) * step).ceil().long(), first + 1)
        span = torch.arange(int((last - first).max()) if len(cells) else 0)
        positions = first[:, None] + span
        inside = (positions < last[:, None]) & (positions < label_map.shape[axis])
        axes.append((positions.clamp(max=label_map.shape[axis] - 1), inside))
    (rows, row_inside), (columns, column_inside) = axes
    window = compact[rows[:, :, None], columns[:, None, :]].flatten(1)
    inside = (row_inside[:, :, None] & column_inside[:, None, :]).flatten(1)
    votes = torch.zeros(len(cells), len(values), dtype=torch.int64)
    votes.scatter_add_(1, window, inside.long())
    return values[votes.argmax(1)]
