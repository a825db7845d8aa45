"""The layers whose index must hold while channels go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.channel_groups import ChannelGroup, masked
from mmlayerwise.compression.reading import LayerReader, LayerSamples
from mmlayerwise.separation.layers import Layer, Trace

Removed = Mapping[str, Sequence[int]]


class Schedule:
    """When the modules of a model run.

    Args:
        trace: One forward pass.
    """

    def __init__(self, trace: Trace) -> None:
        self._ends = {(call.module, call.number): n for n, call in enumerate(trace.calls)}
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        for number, call in enumerate(trace.calls):
            self.first.setdefault(call.module, number)
            self.last[call.module] = number

    def end(self, layer: Layer) -> int:
        """When the layer's output is there."""
        return self._ends[layer.tap.module, layer.tap.call]

    def read_before(self, group: ChannelGroup, end: int) -> bool:
        """Whether something reads the group's channels before a point of time."""
        return any(self.first.get(one.module, end + 1) <= end for one in group.readers)

    def read_after(self, group: ChannelGroup, end: int) -> bool:
        """Whether something reads the group's channels after a point of time."""
        return any(self.last.get(one.module, end + 1) > end for one in group.readers)


@dataclass
class Watched:
    """One layer whose index is measured.

    Attributes:
        layer: The layer.
        owners: Root of the group and channel there of each of the layer's channels; None where
            that cannot be told.
    """

    layer: Layer
    owners: list[tuple[str, int]] | None

    def remaining(self, removed: Removed) -> Tensor | None:
        """The layer's channels that are not removed; None: all."""
        if self.owners is None:
            return None
        gone = {root: set(channels) for root, channels in removed.items()}
        kept = [n for n, (root, one) in enumerate(self.owners) if one not in gone.get(root, ())]
        return None if len(kept) == len(self.owners) else torch.tensor(kept)


def owners_of(
    layer: Layer,
    groups: Sequence[ChannelGroup],
    schedule: Schedule,
    modules: Mapping[str, nn.Module],
) -> list[tuple[str, int]] | None:
    """Which group's channels a layer's channels are.

    They are found through the next module that reads as many channels: a concatenation, say, is
    read by a convolution in the order in which it was put together.

    Returns:
        (root, channel) of each of the layer's channels; None if no such module follows.
    """
    count, end = layer.shape[1], schedule.end(layer)
    readers: dict[str, dict[int, tuple[str, int]]] = {}
    for group in groups:
        for reader in group.readers:
            if schedule.first.get(reader.module, -1) > end:
                table = readers.setdefault(reader.module, {})
                pairs = zip(reader.inputs.tolist(), reader.channels.tolist(), strict=True)
                table.update({one: (group.root, channel) for one, channel in pairs})
    for name in sorted(readers, key=schedule.first.__getitem__):
        module, table = modules[name], readers[name]
        width = getattr(module, 'in_channels', None) or getattr(module, 'in_features', 0)
        # A flattened map has several inputs for each channel.
        positions, rest = divmod(width, count)
        if rest or not positions or (positions > 1 and isinstance(module, nn.Conv2d)):
            continue
        if len(table) == width:
            return [table[channel * positions] for channel in range(count)]
    return None


class IndexWatch:
    """Measures the index of some layers of a model without some of its channels.

    Args:
        model: The model; it stays whole, channels are masked.
        reader: Gives the samples.
        watched: The layers.
        groups: The groups of the model's channels.
    """

    def __init__(
        self,
        model: nn.Module,
        reader: LayerReader,
        watched: Sequence[Watched],
        groups: Sequence[ChannelGroup],
    ) -> None:
        self.model = model
        self.reader = reader
        self.watched = list(watched)
        self.groups = list(groups)
        self.measurements = 0
        self._measured: dict[frozenset, Agreement] = {}

    @property
    def name(self) -> str:
        """Of the layers."""
        return ', '.join(one.layer.name for one in self.watched)

    def samples(self, layer: Layer, removed: Removed) -> LayerSamples:
        """Samples of any layer without some channels of the model."""
        with masked(self.model, self.groups, removed):
            return self.reader.read_one(self.model, layer)

    def measure(self, removed: Removed) -> Agreement:
        """Agreement of the watched layers' samples, all taken together."""
        key = frozenset((root, frozenset(gone)) for root, gone in removed.items() if gone)
        if key not in self._measured:
            self._measured[key] = self._measure(removed)
        return self._measured[key]

    def _measure(self, removed: Removed) -> Agreement:
        self.measurements += 1
        found = []
        with masked(self.model, self.groups, removed):
            layers = [one.layer for one in self.watched]
            pairs = zip(self.watched, self.reader.read(self.model, layers), strict=True)
            for one, (_, samples) in pairs:
                kept = one.remaining(removed)
                found.append(samples.agreement(kept, self.reader.max_memory))
        return Agreement.together(found)

    def index(self, removed: Removed) -> float:
        """Index of the watched layers' samples."""
        return self.measure(removed).index
