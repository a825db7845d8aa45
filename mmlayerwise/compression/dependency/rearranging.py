"""Operations that take channels apart and put the values together in others.

torch-pruning takes every operation that it does not know for one that keeps the channels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_pruning import ops
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency import Node

from mmlayerwise.compression.dependency.layout import are_reordered, shape_of
from mmlayerwise.compression.dependency.slicing import has_filters

# Backward functions of operations that move values from channel to channel.
_REARRANGEMENTS = (
    'ChannelShuffleBackward',
    'NativeChannelShuffleBackward',
    'PixelShuffleBackward',
    'PixelUnshuffleBackward',
)


def is_reorg(module: nn.Module) -> bool:
    """Whether a module is :class:`~mmlayerwise.models.layers.Reorg`."""
    return type(module).__name__ == 'Reorg' and hasattr(module, 'stride')


class _ReorgFunction(torch.autograd.Function):
    """The layer as one operation, which a trace shows by this name; nothing flows back."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, reorg: nn.Module) -> Tensor:
        ctx.reorg_stride = reorg.stride
        return reorg(inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        raise NotImplementedError('a trace is not trained')


class TracedReorg(nn.Module):
    """Stands for darknet's reorg layer in a trace.

    Args:
        reorg: The layer.
    """

    def __init__(self, reorg: nn.Module) -> None:
        super().__init__()
        self.reorg = reorg

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the layer."""
        return _ReorgFunction.apply(inputs, self.reorg)


class _BlockMapping:
    """From the channels at one end of a reorg layer to those at the other.

    As many neighbouring channels as a block has places are one map to the layer, whose places
    become the channels. So they go together.

    Args:
        area: Places of a block.
        num_maps: Number of these maps.
        reverse: Whether it is from the end to the beginning.
    """

    def __init__(self, area: int, num_maps: int, reverse: bool) -> None:
        self.area = area
        self.num_maps = num_maps
        self.reverse = reverse

    def __call__(self, indices: Sequence[_HybridIndex]) -> list[_HybridIndex]:
        roots = {}
        for index in indices:
            number = index.idx // self.area
            roots.setdefault(number % self.num_maps if self.reverse else number, index.root_idx)
        return [
            _HybridIndex(idx=channel, root_idx=root)
            for number, root in roots.items()
            for channel in self._channels(number)
        ]

    def _channels(self, number: int) -> list[int]:
        """The channels of a map, at the beginning or, once for each place, at the end."""
        places = range(1 if self.reverse else self.area)
        starts = [(place * self.num_maps + number) * self.area for place in places]
        return [start + one for start in starts for one in range(self.area)]


def map_reorg(node: Node) -> None:
    """Say which channels become which, if a node is a reorg layer.

    Args:
        node: An operation in torch-pruning's graph, changed in place.
    """
    stride = getattr(node.grad_fn, 'reorg_stride', None)
    if stride is None:
        return
    area = stride**2
    num_maps = shape_of(node)[1] // area**2
    for one in node.inputs:
        for dependency in node.dependencies:
            if dependency.target is one:
                dependency.index_mapping.insert(0, _BlockMapping(area, num_maps, reverse=True))
        for dependency in one.dependencies:
            if dependency.target is node:
                dependency.index_mapping.append(_BlockMapping(area, num_maps, reverse=False))


def rearranges_channels(node: Node) -> bool:
    """Whether a node moves values from channel to channel, in a way that is not known.

    Operations of that kind, and reshaped maps whose channels were split or joined, unless they go
    to the outside.
    """
    return _moves_values(node) and not _is_output(node)


def _moves_values(node: Node) -> bool:
    if node.grad_fn is None:
        return False
    if node.grad_fn.name().startswith(_REARRANGEMENTS):
        return True
    if node.type != ops.OPTYPE.RESHAPE or len(node.inputs) != 1:
        return False
    before, after = shape_of(node.inputs[0]), shape_of(node)
    maps = len(before) > 2 and len(after) > 2
    return maps and before[1] != after[1] and not are_reordered(node)


def _is_output(node: Node) -> bool:
    """Whether what a node gives, however it is changed, is an output of the model."""
    stack, seen = list(node.outputs), set()
    while stack:
        one = stack.pop()
        if one.type == ops.OPTYPE.OUTPUT:
            return True
        if one not in seen and not has_filters(one.module):
            stack += one.outputs
        seen.add(one)
    return False
