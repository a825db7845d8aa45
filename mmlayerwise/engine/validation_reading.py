"""Reading layers in the forward passes that a validation makes anyway."""

from contextlib import ExitStack
from typing import Any

from mmengine.runner import ValLoop
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from mmlayerwise.engine.separation import MeasuringData
from mmlayerwise.separation import SeparationError, undisturbed
from mmlayerwise.separation.batches import input_size_of
from mmlayerwise.separation.reading import LayerReading
from mmlayerwise.separation.samples import ImageSamples, Sampler


class ValidationReading:
    """Reads the chosen images' layers while a validation loop runs the model on all images.

    Truths and sizes are those of the preprocessed batches, which the network sees. Images that a
    sampler repeats, to give all processes equally many, count once.

    Args:
        model: The model that the loop runs, not wrapped.
        reading: Where to collect the layers.
        data: Whose chosen images are read.
        loader: What the loop draws its batches from.
    """

    def __init__(
        self, model: nn.Module, reading: LayerReading, data: MeasuringData, loader: DataLoader
    ) -> None:
        self.reading = reading
        self._data = data
        self._chosen = set(data.images)
        self._batches = [list(batch) for batch in loader.batch_sampler]
        self._number = 0
        self._pass = ExitStack()
        self._handle = model.data_preprocessor.register_forward_hook(self._preprocessed)

    def start_batch(self, number: int) -> None:
        """Expect a batch of the loop, counted from 0."""
        self._number = number

    def _preprocessed(self, module: nn.Module, args: tuple, data: Any) -> None:
        inputs = data['inputs'] if isinstance(data, dict) else data[0]
        size = input_size_of(inputs)
        truths = self._data.truths(self._batches[self._number], data, size)
        if self.reading.offer(truths, size, self._chosen):
            taps = self._pass.enter_context(self.reading.taps())
            self._pass.enter_context(taps.one_pass())

    def end_batch(self) -> None:
        """Make sure that all layers were read, and take what reads them off the model."""
        self._pass.close()
        self.reading.end_batch()

    def close(self) -> None:
        """Leave the model as it was, also after a validation that broke off."""
        self._handle.remove()
        # What was not read in a pass that broke off is no error of its own.
        self._pass.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def refuse_validation_reading(runner: Any, model: nn.Module, sampler: Sampler) -> str | None:
    """Why the layers cannot be read in the validation's forward passes; None where they can."""
    loop, loader = runner.val_loop, runner.val_dataloader
    if not isinstance(sampler, ImageSamples):
        return (
            f'{sampler.kind} samples need annotations in the coordinates of the network input, '
            'which validation pipelines do not load; only image and text samples can be read so'
        )
    if not isinstance(loop, ValLoop):
        return f'the validation loop is {type(loop).__name__}, not a ValLoop of mmengine'
    if not isinstance(getattr(model, 'data_preprocessor', None), nn.Module):
        return f'{type(model).__name__} has no data preprocessor'
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return 'the validation data have no numbered images'
    with undisturbed(model):
        first, second = (list(map(list, loader.batch_sampler)) for _ in range(2))
    if first != second:
        return 'the validation sampler draws other images each time'
    return None


def choose_forward_passes(wanted: str, reason: str | None) -> str:
    """Settle ``'auto'``.

    Args:
        wanted: ``'auto'``, ``'own'`` or ``'validation'``.
        reason: Why the validation's passes cannot be read, if so.

    Raises:
        SeparationError: If they are wanted and cannot be read.
    """
    if wanted == 'validation' and reason:
        raise SeparationError(
            f"SeparationHook: forward_passes='validation' is not possible here: {reason}. Use "
            "forward_passes='own'."
        )
    if wanted == 'auto':
        return 'own' if reason else 'validation'
    return wanted
