"""Reading layers for a fixed set of samples, again and again, from one process's own data."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.separation.batches import Batch, Forward
from mmlayerwise.separation.indices import measure
from mmlayerwise.separation.layers import Layer, Trace
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY
from mmlayerwise.separation.samples import (
    Candidates,
    Extracted,
    TextSamples,
    build_sampler,
    select_balanced,
)
from mmlayerwise.separation.samples.sampler import Sampler
from mmlayerwise.separation.taps import Tap, Taps, undisturbed

Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all)."""

# Features of several layers that are held at once, in bytes.
_HELD = 2**30


@dataclass
class LayerSamples:
    """What one layer gives for the samples.

    Attributes:
        features: float32 of shape (num_samples, channels, positions).
        labels: int64 of shape (num_samples,).
        ids: int64 of shape (num_samples,), ascending.
        groups: int64 of shape (num_samples,) where samples of one image are no neighbours.
    """

    features: Tensor
    labels: Tensor
    ids: Tensor
    groups: Tensor | None

    def agreement(
        self, channels: Tensor | None = None, max_memory: int = DEFAULT_MEMORY
    ) -> Agreement:
        """Measure the layer, or only some of its channels."""
        features = self.features if channels is None else self.features[:, channels]
        found = measure(features.flatten(1), self.labels, groups=self.groups, max_memory=max_memory)
        return Agreement(found.per_sample.cpu(), found.chance)


class LayerReader:
    """Gives the vectors of any layers for the same samples, however the model was changed.

    Unlike the meter it neither shares the work among processes nor forgets the vectors.

    Args:
        batches: The data; iterated over once for each reading, so that it may be a list or load
            anew each time.
        forward: Runs a model on the inputs of a batch.
        samples: ``'auto'``, ``dict(type=...)`` or a sampler.
        max_samples: At most so many, balanced over the classes.
        seed: Of the choice of samples.
        max_memory: Bytes for the neighbour search.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        forward: Forward,
        samples: str | dict | Sampler = 'auto',
        *,
        max_samples: int = 2000,
        seed: int = 0,
        max_memory: int = DEFAULT_MEMORY,
    ) -> None:
        if max_samples < 2:
            raise CompressionError(f'max_samples must be at least 2, got {max_samples}')
        self.batches = batches
        self.forward = forward
        self.max_memory = max_memory
        self.seed = seed
        first = next(iter(batches), None)
        if first is None:
            raise CompressionError('There is no data to plan on: no batch came')
        self.first = first
        self.sampler = build_sampler(samples, first.truths)
        found = [self.sampler.candidates(one, seed) for one in self._truths()]
        ids, order = torch.cat([one.ids for one in found]).sort()
        labels = torch.cat([one.labels for one in found])[order]
        priorities = torch.cat([one.priorities for one in found])[order]
        if len(labels.unique()) < 2:
            raise CompressionError(
                f'The data hold {len(labels)} {self.sampler.kind} samples of '
                f'{len(labels.unique())} classes; a separation index needs two classes. Check the '
                'annotations or plan on more images'
            )
        self.kept = ids[select_balanced(labels, priorities, max_samples)]

    @property
    def num_images(self) -> int:
        """How many images the data hold."""
        return sum(1 for _ in self._truths())

    def trace(self, model: nn.Module) -> Trace:
        """The model's layers in execution order."""
        with undisturbed(model, self.seed):
            return Trace(model, lambda: self.forward(model, self.first.inputs))

    def accepts(self, layer: Layer) -> bool:
        """Whether samples can be found in a layer."""
        return self.sampler.accepts(layer.shape, len(self.first.truths), self.first.input_size)

    def read(
        self, model: nn.Module, layers: Sequence[Layer]
    ) -> Iterator[tuple[Layer, LayerSamples]]:
        """Read layers, several in each pass over the data as the memory allows.

        Args:
            model: The model; it is left as it was found.
            layers: Where to read.

        Yields:
            Each layer with its samples, in the order given.

        Raises:
            CompressionError: If the images give vectors of different lengths.
        """
        for part in self._parts(layers):
            collected = self._collect(model, part)
            for layer in part:
                sampler = self._sampler_of(model, layer)
                yield layer, self._gather(layer, sampler, collected.pop(layer.name))

    def read_one(self, model: nn.Module, layer: Layer) -> LayerSamples:
        """Read a single layer."""
        return next(self.read(model, [layer]))[1]

    def _truths(self) -> Iterator:
        for batch in self.batches:
            yield from batch.truths

    def _parts(self, layers: Sequence[Layer]) -> Iterator[list[Layer]]:
        part, held = [], 0
        for layer in layers:
            # A sampler keeps at most all values of an image, for images 8192 by default.
            size = 4 * len(self.kept) * min(8192, torch.Size(layer.shape[1:]).numel())
            if part and held + size > _HELD:
                yield part
                part, held = [], 0
            part.append(layer)
            held += size
        if part:
            yield part

    def _collect(self, model: nn.Module, layers: Sequence[Layer]) -> dict[str, list[Extracted]]:
        collected: dict[str, list[Extracted]] = {layer.name: [] for layer in layers}
        samplers = {layer.name: self._sampler_of(model, layer) for layer in layers}
        current: list[Candidates] = []
        size = (0, 0)

        def read(tap: Tap, output: Tensor) -> None:
            if any(len(image.labels) for image in current):
                found = samplers[tap.name].extract(output, current, size)
                rows = torch.isin(found.ids, self.kept)
                cells = None if found.cells is None else found.cells[rows]
                collected[tap.name].append(
                    Extracted(
                        found.features[rows.to(found.features.device)],
                        found.labels[rows],
                        found.ids[rows],
                        cells,
                    )
                )

        with undisturbed(model, self.seed):
            for batch in self.batches:
                current[:] = [self.sampler.candidates(one, self.seed) for one in batch.truths]
                size = batch.input_size
                taps = Taps(model, [layer.tap for layer in layers], read, stop_early=True)
                with taps:
                    taps.run(lambda inputs=batch.inputs: self.forward(model, inputs))
        return collected

    def _sampler_of(self, model: nn.Module, layer: Layer) -> Sampler:
        return self.sampler.for_layer(layer, model, self.first.input_size)

    def _gather(self, layer: Layer, sampler: Sampler, parts: list[Extracted]) -> LayerSamples:
        lengths = {part.features.shape[1] for part in parts}
        if len(lengths) > 1:
            raise CompressionError(
                f'Layer {layer.name!r} gives vectors of {min(lengths)} to {max(lengths)} values: '
                'the images differ in size. Pool the maps (--samples ImageSamples pool=4) or '
                'resize the images'
            )
        features = torch.cat([part.features for part in parts])
        labels = torch.cat([part.labels for part in parts])
        ids = torch.cat([part.ids for part in parts])
        order = ids.argsort()
        if parts[0].cells is not None:
            # Several pixels of one cell of the layer count once.
            cells = torch.cat([part.cells for part in parts])[order]
            order = order[_first_of_each(cells)]
        place = order.to(features.device)
        channels = channels_of(layer, sampler, features.shape[1])
        found = Extracted(features[place], labels[order], ids[order])
        groups = found.images if self.sampler.exclude_same_image else None
        return LayerSamples(
            found.features.reshape(len(order), channels, -1),
            found.labels.to(features.device),
            found.ids,
            None if groups is None else groups.to(features.device),
        )


def channels_of(layer: Layer, sampler: Sampler, dimension: int) -> int:
    """Channels of a layer whose samples are vectors of some length, positions last."""
    if isinstance(sampler, TextSamples):
        channels = sampler.num_channels(layer.shape)
    else:
        channels = layer.shape[1] if len(layer.shape) in (2, 4) else layer.shape[-1]
    return channels if dimension % channels == 0 else dimension


def _first_of_each(values: Tensor) -> Tensor:
    """Positions of the first occurrence of every value, ascending."""
    order = values.argsort(stable=True)
    ordered = values[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first].sort().values
