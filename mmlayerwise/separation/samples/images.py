"""Whole images."""

from collections.abc import Sequence
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import as_feature_map
from mmlayerwise.separation.samples.ground_truth import GroundTruth
from mmlayerwise.separation.samples.sampler import (
    Candidates,
    Extracted,
    Pooling,
    Sampler,
    check_pooling,
    random_priorities,
)


class ImageSamples(Sampler):
    """Whole images, labelled by their class.

    Args:
        pool: ``'flatten'`` takes the map as it is, ``'average'`` its mean over positions, a number
            g its means over a g x g grid. ``'auto'`` halves the map by averaging until it has at
            most ``max_dimension`` values.
        max_dimension: Limit of ``'auto'``.
    """

    kind = 'image'

    def __init__(self, pool: str | int = 'auto', max_dimension: int = 8192) -> None:
        self.pool = check_pooling(pool, ('auto', 'flatten', 'average'))
        self.max_dimension = max_dimension

    def pooled(self, pooling: Pooling) -> 'ImageSamples':  # noqa: D102
        sampler = copy(self)
        sampler.pool = check_pooling(pooling, ('auto', 'flatten', 'average'))
        return sampler

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.label is None:
            raise SeparationError(
                f'{self.kind.capitalize()} samples need a label for every {self.kind} (gt_label).'
            )
        return Candidates(
            truth,
            torch.tensor([truth.label]),
            random_priorities(seed, truth.image, 1),
            torch.zeros(1, 0),
        )

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return len(shape) >= 2 and shape[0] == num_images

    def extract(  # noqa: D102
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        used = torch.tensor([number for number, image in enumerate(batch) if len(image.labels)])
        chosen = output[used.to(output.device)].float()
        return Extracted(
            self._pooled(chosen, input_size).flatten(1).clone(),
            torch.cat([image.labels for image in batch]),
            torch.cat([image.ids for image in batch]),
        )

    def _pooled(self, output: Tensor, input_size: tuple[int, int]) -> Tensor:
        if output.ndim == 2 or self.pool == 'flatten':
            return output
        grid = self._grid(output, input_size)
        if grid is None:
            if isinstance(self.pool, int):
                raise SeparationError(
                    f'An output of shape {tuple(output.shape)} has no grid to pool to {self.pool} '
                    "cells a side. Choose the pooling 'average' or 'flatten' for this layer."
                )
            too_large = self.pool == 'auto' and output[0].numel() > self.max_dimension
            return output.mean(1) if self.pool == 'average' or too_large else output
        if self.pool == 'average':
            return grid.mean((2, 3))
        if self.pool == 'auto':
            size = grid.shape[2:]
            while size.numel() > 1 and grid.shape[1] * size.numel() > self.max_dimension:
                size = torch.Size((side + 1) // 2 for side in size)
            return F.adaptive_avg_pool2d(grid, size)
        return F.adaptive_avg_pool2d(grid, [min(self.pool, side) for side in grid.shape[2:]])

    def _grid(self, output: Tensor, input_size: tuple[int, int]) -> Tensor | None:
        """The output as (images, channels, height, width), or None."""
        return as_feature_map(output, input_size)
