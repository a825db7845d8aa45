"""What boxes and instances share: their choice, their size, their level of the pyramid."""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor, nn

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import as_feature_map, stride_of
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.levels import PyramidLevels, pyramid_levels
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


class RegionSamples(Sampler):
    """Base of samples that are objects of an image.

    Objects of one image are no neighbours of each other: they share background and overlap, so that
    even random weights would score high.

    Args:
        max_per_image: Objects to take from one image at most, balanced over its classes.
        max_images: Images to look at, at most.
        exclude_same_image: Whether objects of one image are no neighbours of each other.
        max_per_class: Objects of one class to take from one image, at most; None for no limit.
        levels: ``'all'`` measures every object on every level of a feature pyramid, ``'assigned'``
            on the level to which the detector assigns its box. A backbone's layers see all objects.
    """

    def __init__(
        self,
        max_per_image: int = 50,
        max_images: int = 200,
        exclude_same_image: bool = True,
        max_per_class: int | None = None,
        levels: str = 'all',
    ) -> None:
        check_caps(max_per_image=max_per_image, max_images=max_images, max_per_class=max_per_class)
        if levels not in ('all', 'assigned'):
            raise SeparationError(f"levels must be 'all' or 'assigned', got {levels!r}.")
        self.max_per_image = max_per_image
        self.max_images = max_images
        self.exclude_same_image = exclude_same_image
        self.max_per_class = max_per_class
        self.levels = levels
        self._pyramid: PyramidLevels | None = None

    def for_model(self, model: nn.Module) -> 'RegionSamples':  # noqa: D102
        sampler = copy(self)
        sampler._pyramid = pyramid_levels(model)
        if sampler._pyramid is None and self.levels == 'assigned':
            raise SeparationError(
                f'{type(model).__name__} has no feature pyramid whose rule of assigning boxes to '
                "levels is known. Measure with levels='all', or let a plugin give the rule "
                '(pyramid_levels).'
            )
        return sampler

    def for_layer(  # noqa: D102
        self, layer: Layer, model: nn.Module, input_size: tuple[int, int]
    ) -> 'RegionSamples':
        grid = as_feature_map(torch.empty(layer.shape, device='meta'), input_size)
        behind_backbone = not f'{layer.module}.'.startswith('backbone.')
        if self._pyramid is None or grid is None or not behind_backbone:
            return self
        sampler = copy(self)
        sampler.level = self._pyramid.level_of(stride_of(input_size, tuple(grid.shape[2:])))
        sampler.may_lack_samples = self.levels == 'assigned' and sampler.level is not None
        return sampler

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return is_map(shape, num_images, input_size)

    def extract(  # noqa: D102
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        grid = as_feature_map(output, input_size)
        stride = stride_of(input_size, tuple(grid.shape[2:]))
        chosen = [self._rows(image) for image in batch]
        features = [
            self._read(grid[number], image, rows, stride)
            for number, (image, rows) in enumerate(zip(batch, chosen, strict=True))
        ]
        pairs = list(zip(batch, chosen, strict=True))
        return Extracted(
            torch.cat(features).flatten(1),
            torch.cat([image.labels[rows] for image, rows in pairs]),
            torch.cat([image.ids[rows] for image, rows in pairs]),
        )

    def _rows(self, image: Candidates) -> Tensor:
        """The objects that this sampler's layer is measured on."""
        if self.may_lack_samples:
            return (image.levels == self.level).nonzero().flatten()
        return torch.arange(len(image.labels))

    def _read(
        self, feature_map: Tensor, image: Candidates, rows: Tensor, stride: tuple[float, float]
    ) -> Tensor:
        """Features of some objects of one image, one row each."""
        raise NotImplementedError

    def _choose(
        self, truth: GroundTruth, labels: Tensor, boxes: Tensor, areas: Tensor, seed: int
    ) -> tuple[Candidates, Tensor]:
        """Objects with an area, balanced over their classes, and their numbers in the image."""
        levels = None if self._pyramid is None else self._pyramid.assign(boxes, truth.size)
        areas = areas.double() / (truth.scale[0] * truth.scale[1])
        priorities = random_priorities(seed, truth.image, len(labels))
        found = Candidates(truth, labels, priorities, boxes, areas, levels)
        visible = (areas > 0).nonzero().flatten()
        chosen = select_balanced(
            labels[visible], priorities[visible], self.max_per_image, self.max_per_class
        )
        rows = visible[chosen]
        return found.take(rows), rows
