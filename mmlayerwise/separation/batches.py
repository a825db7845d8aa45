"""What a measurement reads: batches of inputs with their ground truth."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmlayerwise.separation.distributed import world
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.samples import GroundTruth, ground_truths
from mmlayerwise.separation.taps import undisturbed

Forward = Callable[[nn.Module, Any], Any]

# Room for the numbers of one process's images.
_IMAGES_PER_PROCESS = 2**28


@dataclass
class Batch:
    """Input of one forward pass with what is known about its images.

    Attributes:
        inputs: What ``forward`` takes.
        truths: One ground truth an image.
        input_size: (height, width) of the batched images, padding included.
    """

    inputs: Any
    truths: list[GroundTruth]
    input_size: tuple[int, int]


def as_batches(data: Iterable[Any]) -> Iterator[Batch]:
    """Wrap pairs of an input tensor and image labels or ground truths; batches pass through.

    Images without a number of their own are numbered as they come, in every process apart.
    """
    images = world()[0] * _IMAGES_PER_PROCESS
    for item in data:
        if isinstance(item, Batch):
            yield item
            continue
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise SeparationError(
                f'A batch must be a Batch or a pair (inputs, labels), got {type(item).__name__}.'
            )
        inputs, truth = item
        size = input_size_of(inputs)
        truths = ground_truths(truth, images, size)
        images += len(truths)
        yield Batch(inputs, truths, size)


def settle_forward(forward: Forward, model: nn.Module, batch: Batch) -> None:
    """Let a forward function that has to try how a model runs do so before the model is watched.

    Args:
        forward: If it has a method ``settle(model, inputs)``, that is called.
        model: The model; it is left as it was found.
        batch: What to try it with.
    """
    settle = getattr(forward, 'settle', None)
    if settle is not None:
        with undisturbed(model):
            settle(model, batch.inputs)


def input_size_of(inputs: Tensor) -> tuple[int, int]:
    """(height, width) of batched images; a text, (texts, length) or (..., length), has height 1."""
    if inputs.ndim == 3 or (inputs.ndim == 2 and not inputs.is_floating_point()):
        return 1, inputs.shape[-1]
    return tuple(inputs.shape[-2:])
