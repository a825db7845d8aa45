"""Trying what a model computes without some channels, before anything is removed.

A channel that is removed is missing where it is *read*. Setting it to zero there gives what the
smaller model computes, whatever lies between: normalisations, sums, concatenations, flattening.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.dependency.slicing import has_filters


@dataclass
class Reader:
    """A module that reads the channels of a group.

    Attributes:
        module: Its name.
        inputs: int64: input channels of the module ...
        channels: int64: ... and the channels of the group's root that make them.
    """

    module: str
    inputs: Tensor
    channels: Tensor


@dataclass
class ChannelGroup:
    """Channels that stay or go together in several modules.

    Attributes:
        root: The module that names the group: the first that runs.
        num_channels: Output channels of the root.
        members: Convolutions and linear layers whose output channels they are, root included.
        readers: Who reads them.
    """

    root: str
    num_channels: int
    members: list[str] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)


def find_groups(
    model: nn.Module, graph: ChannelGraph, order: Mapping[str, int]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Find the groups of channels that can be removed one by one.

    Args:
        model: The model.
        graph: Its dependencies.
        order: Module -> when it runs.

    Returns:
        The groups, in execution order of their roots, and root -> why it can't be thinned.
    """
    found: list[ChannelGroup] = []
    modules = dict(model.named_modules())
    unreached = [name for name in graph.untraced if has_filters(modules[name])]
    refused = dict.fromkeys(unreached, 'no gradient reached it when the model was traced')
    seen: set[str] = set()
    for name in sorted(graph.layers(), key=lambda one: order.get(one, len(order))):
        if name in seen:
            continue
        group = ChannelGroup(name, graph.width((name, 'out')))
        reason = _fill(group, graph, modules)
        seen.update(group.members)
        if reason is None:
            found.append(group)
        else:
            refused[name] = reason
    return found, refused


def _fill(group: ChannelGroup, graph: ChannelGraph, modules: Mapping[str, nn.Module]) -> str | None:
    """Add members and readers, or say why the channels can't be thinned."""
    removal = graph.removal(group.root, range(group.num_channels))
    if removal.obstacle:
        return removal.obstacle
    for (name, side), channels in removal.places.items():
        module = modules.get(name)
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            return f'{name} normalises them together'
        if module is None or not has_filters(module):
            continue
        if getattr(module, 'deform_groups', 1) > 1:
            return f'{name} moves them in groups'
        if side == 'out':
            if 1 < getattr(module, 'groups', 1) < module.out_channels:
                return f'the grouped convolution {name} makes or reads them'
            group.members.append(name)
        elif not (isinstance(module, _ConvNd) and module.groups > 1):
            group.readers.append(
                Reader(name, torch.tensor(list(channels)), torch.tensor(list(channels.values())))
            )
    if not group.readers:
        return 'nothing reads them'
    read = torch.cat([reader.channels for reader in group.readers]).unique()
    return None if len(read) == group.num_channels else 'some of them can only go together'


@contextmanager
def masked(
    model: nn.Module, groups: Sequence[ChannelGroup], removed: Mapping[str, Sequence[int]]
) -> Iterator[None]:
    """Let a model compute what it would without some channels.

    Args:
        model: The model.
        groups: The groups of its channels.
        removed: Root of a group -> channels that are missing.
    """
    modules = dict(model.named_modules())
    missing: dict[str, list[Tensor]] = {}
    for group in groups:
        gone = torch.as_tensor(list(removed.get(group.root, ())), dtype=torch.long)
        if not len(gone):
            continue
        for reader in group.readers:
            rows = torch.isin(reader.channels, gone)
            missing.setdefault(reader.module, []).append(reader.inputs[rows])
    handles = [
        modules[name].register_forward_pre_hook(_without(torch.cat(parts), modules[name]))
        for name, parts in missing.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _without(inputs: Tensor, module: nn.Module) -> Callable:
    axis = -1 if isinstance(module, nn.Linear) else 1

    def hook(module: nn.Module, args: tuple) -> tuple:
        return (args[0].index_fill(axis, inputs.to(args[0].device), 0), *args[1:])

    return hook
