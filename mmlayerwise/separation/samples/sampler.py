"""What all samplers share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmlayerwise.separation.geometry import as_feature_map
from mmlayerwise.separation.samples.ground_truth import GroundTruth

# Room for the samples of one image in a sample's number.
_SAMPLES_PER_IMAGE = 2**24


@dataclass
class Candidates:
    """Samples that one image offers.

    Attributes:
        truth: The image.
        labels: int64 of shape (num_samples,).
        priorities: float64 of shape (num_samples,), uniform random; the lowest are taken first.
        places: The sampler's own: (num_samples, 4) boxes, (num_samples, 2) pixels, ...
    """

    truth: GroundTruth
    labels: Tensor
    priorities: Tensor
    places: Tensor

    @property
    def ids(self) -> Tensor:
        """int64 of shape (num_samples,): unique numbers, ascending with the image."""
        return self.truth.image * _SAMPLES_PER_IMAGE + torch.arange(len(self.labels))

    def take(self, rows: Tensor) -> 'Candidates':
        """Only some of the samples."""
        return Candidates(self.truth, self.labels[rows], self.priorities[rows], self.places[rows])


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
    """

    kind = 'sample'
    exclude_same_image = False
    max_images: int | None = None

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


def is_map(shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]) -> bool:
    """Whether an output is a map of more than one position over each image."""
    if not shape or shape[0] != num_images:
        return False
    grid = as_feature_map(torch.empty(shape, device='meta'), input_size)
    return grid is not None and grid.shape[2] * grid.shape[3] > 1


def random_priorities(seed: int, image: int, count: int) -> Tensor:
    """Uniform numbers that depend on the seed and the image only: float64 of shape (count,)."""
    return torch.from_numpy(np.random.default_rng([seed, image]).random(count))
