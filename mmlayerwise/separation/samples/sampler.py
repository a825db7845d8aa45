"""What all samplers share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import as_feature_map
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.samples.ground_truth import GroundTruth

# Room for the samples of one image in a sample's number.
_SAMPLES_PER_IMAGE = 2**24

# How a map becomes a vector: 'flatten', 'average', or the side of a grid.
Pooling = str | int


@dataclass
class Candidates:
    """Samples that one image offers.

    Attributes:
        truth: The image.
        labels: int64 of shape (num_samples,).
        priorities: float64 of shape (num_samples,), uniform random; the lowest are taken first.
        places: The sampler's own: (num_samples, 4) boxes, (num_samples, 2) pixels, ...
        areas: float64 of shape (num_samples,): pixels of the original image that an object covers;
            None where samples are no objects.
        levels: int64 of shape (num_samples,): level of the feature pyramid that the detector
            assigns the object to; None where that isn't known.
    """

    truth: GroundTruth
    labels: Tensor
    priorities: Tensor
    places: Tensor
    areas: Tensor | None = None
    levels: Tensor | None = None

    @property
    def ids(self) -> Tensor:
        """int64 of shape (num_samples,): unique numbers, ascending with the image."""
        return self.truth.image * _SAMPLES_PER_IMAGE + torch.arange(len(self.labels))

    def take(self, rows: Tensor) -> 'Candidates':
        """Only some of the samples."""
        columns = (self.labels, self.priorities, self.places, self.areas, self.levels)
        return Candidates(self.truth, *(None if one is None else one[rows] for one in columns))


@dataclass
class Extracted:
    """Vectors that a layer gives for the samples of one batch.

    Attributes:
        features: float32 of shape (num_samples, dimension), own memory.
        labels: int64 of shape (num_samples,).
        ids: int64 of shape (num_samples,), see :class:`Candidates`.
        cells: int64 of shape (num_samples,): equal where two samples are one place of the layer,
            which counts once; None where that can't be.
    """

    features: Tensor
    labels: Tensor
    ids: Tensor
    cells: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """int64 of shape (num_samples,): number of each sample's image."""
        return self.ids // _SAMPLES_PER_IMAGE


class Sampler:
    """Base of the samplers.

    Attributes:
        kind: Word for one sample in logs.
        exclude_same_image: Whether samples of one image are no neighbours of each other.
        max_images: How many images to look at, or None for as many as there are samples.
        level: Level of the feature pyramid that this sampler's layer belongs to, if any.
        may_lack_samples: Whether this sampler's layer may hold too few samples to measure, which
            is noted and no error.
    """

    kind = 'sample'
    exclude_same_image = False
    max_images: int | None = None
    level: int | None = None
    may_lack_samples = False

    def for_model(self, model: nn.Module) -> 'Sampler':
        """The sampler with what it has to know of a model; itself if that is nothing."""
        return self

    def for_layer(self, layer: Layer, model: nn.Module, input_size: tuple[int, int]) -> 'Sampler':
        """The sampler with what it has to know of a layer; itself if that is nothing."""
        return self

    def pooled(self, pooling: Pooling) -> 'Sampler':
        """The sampler with another pooling: ``'flatten'``, ``'average'`` or a grid size.

        Raises:
            SeparationError: If there is nothing to pool in a sample of this kind.
        """
        raise SeparationError(
            f'{type(self).__name__} has no pooling: a {self.kind} is one vector as it is.'
        )

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:
        """Samples that the image offers."""
        raise NotImplementedError

    def accepts(self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]) -> bool:
        """Whether a layer's output of this shape can be sampled."""
        raise NotImplementedError

    def extract(
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        """Read the vectors of a batch's samples from a layer's output."""
        raise NotImplementedError


def check_caps(**caps: int | None) -> None:
    """Refuse limits that no sample can keep; None is no limit.

    Raises:
        SeparationError: For a limit below 1.
    """
    for name, cap in caps.items():
        if cap is not None and cap < 1:
            raise SeparationError(f'{name} must be at least 1, got {cap}.')


def check_pooling(pooling: Pooling, choices: Sequence[str] = ('flatten', 'average')) -> Pooling:
    """Return a pooling, or say what poolings there are.

    Raises:
        SeparationError: If it is none of ``choices`` and no positive number.
    """
    grid = isinstance(pooling, int) and not isinstance(pooling, bool) and pooling > 0
    if not grid and pooling not in choices:
        names = ', '.join(map(repr, choices))
        raise SeparationError(f'pool must be {names} or a grid size, got {pooling!r}.')
    return pooling


def is_map(shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]) -> bool:
    """Whether an output is a map of more than one position over each image."""
    if not shape or shape[0] != num_images:
        return False
    grid = as_feature_map(torch.empty(shape, device='meta'), input_size)
    return grid is not None and grid.shape[2] * grid.shape[3] > 1


def random_priorities(seed: int, image: int, count: int) -> Tensor:
    """Uniform numbers that depend on the seed and the image only: float64 of shape (count,)."""
    return torch.from_numpy(np.random.default_rng([seed, image]).random(count))
