"""Reading the samples of all layers, batch by batch, whoever runs the model."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Container

import torch
from torch import Tensor, nn

from mmlayerwise.separation.collection import Collection
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.samples import Candidates, GroundTruth, Sampler
from mmlayerwise.separation.taps import Tap, Taps


class LayerReading:
    """Collects what the chosen layers give for the chosen samples.

    Args:
        model: The model that is run.
        layers: What to read.
        samplers: Of every layer, by its name.
        sampler: What a sample is.
        max_samples: How many samples to choose.
        shorten: Makes short vectors of long ones.
        seed: Of the choice.
        num_classes: Labels count up to this; None where it isn't known.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        samplers: Mapping[str, Sampler],
        sampler: Sampler,
        max_samples: int,
        shorten: Callable[[Tensor], Tensor],
        seed: int,
        num_classes: int | None,
    ) -> None:
        self.model = model
        self.layers = layers
        self.samplers = samplers
        self.sampler = sampler
        self.seed = seed
        self.num_classes = num_classes
        self.collected = Collection(max_samples, shorten)
        self._images: list[Candidates] = []
        self._size = (0, 0)

    def offer(
        self,
        truths: Sequence[GroundTruth],
        input_size: tuple[int, int],
        images: Container[int] | None = None,
    ) -> bool:
        """Choose among the samples of the next batch.

        Args:
            truths: Of its images.
            input_size: (height, width) of its images, padding included.
            images: Numbers of the images to look at; None for all.

        Returns:
            Whether the layers have to be read for this batch.
        """
        self._images = [
            self._candidates(truth) if images is None or truth.image in images else _nothing(truth)
            for truth in truths
        ]
        self._size = input_size
        return self.collected.offer(self._images)

    def taps(self, stop_early: bool = False) -> Taps:
        """What reads the layers in the forward pass of the batch offered last."""
        return Taps(self.model, [layer.tap for layer in self.layers], self._read, stop_early)

    def end_batch(self) -> None:
        """Forget what only the forward pass of a batch needs."""
        for image in self._images:
            image.truth = image.truth.without_pictures()

    def _candidates(self, truth: GroundTruth) -> Candidates:
        truth.check_labels(self.num_classes)
        return self.sampler.candidates(truth, self.seed)

    def _read(self, tap: Tap, output: Tensor) -> None:
        found = self.samplers[tap.name].extract(output, self._images, self._size)
        self.collected.add(tap.name, found)


def _nothing(truth: GroundTruth) -> Candidates:
    """An image that offers no sample."""
    priorities = torch.zeros(0, dtype=torch.float64)
    return Candidates(truth, priorities.long(), priorities, torch.zeros(0, 0))
