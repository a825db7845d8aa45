"""Which channels of a network have to go together, found by torch-pruning's dependency graph.

Only the graph is torch-pruning's: all removals are computed on the whole network, in the original
numbering, and carried out once. So their order does not matter, and coupled decisions can be
reconciled before anything changes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch_pruning import ops
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency import DependencyGraph, Node

from mmlayerwise.compression.dependency.layout import (
    flattens_reordered,
    joins_unknown,
    map_concatenation,
    shape_of,
)
from mmlayerwise.compression.dependency.rearranging import map_reorg, rearranges_channels
from mmlayerwise.compression.dependency.skeleton import skeleton_of, stand_ins
from mmlayerwise.compression.dependency.slicing import channel_dim, channels_of, has_filters
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.outputs import Example, cannot_run, every_output, example_images

# Name of a module (or of a bare parameter) and its side, 'in' or 'out'.
Place = tuple[str, str]


@dataclass
class Removal:
    """All channels that have to go if some channels of one layer go.

    Attributes:
        places: What goes: place -> removed channel -> the layer's channel that made it go.
        obstacle: Why it cannot go; None if it can.
    """

    places: dict[Place, dict[int, int]] = field(default_factory=dict)
    obstacle: str | None = None


class ChannelGraph:
    """The channels of a network and how they depend on each other.

    Args:
        model: The network; it is copied and left as it is.
        example: See :func:`~mmlayerwise.compression.outputs.example_images`.

    Attributes:
        images: What the network was traced with.
        untraced: Modules with parameters that did not run, or without gradients, by name.

    Raises:
        CompressionError: If the network cannot be traced.
    """

    def __init__(self, model: nn.Module, example: Example | None = None) -> None:
        skeleton = stand_ins(skeleton_of(model))
        self.images = example_images(skeleton, example)
        self._modules = dict(model.named_modules())
        self._parameters = dict(model.named_parameters())
        self._graph = DependencyGraph()
        try:
            with torch.enable_grad():
                self._graph.build_dependency(
                    skeleton, self.images, forward_fn=_trace, verbose=False
                )
        except Exception as error:  # the model's own code: anything may come
            raise cannot_run(model, self.images, error) from error
        for node in self._graph.module2node.values():
            map_concatenation(node)
            map_reorg(node)
        self._names = {module: name for name, module in skeleton.named_modules()}
        self._nodes = {
            self._names[module]: node
            for module, node in self._graph.module2node.items()
            if module in self._names
        }
        if not self.layers():
            raise CompressionError(
                f'{type(model).__name__} cannot be traced: no gradient flows from its outputs to a '
                'convolution or linear layer. Its forward must not switch gradients off '
                '(torch.no_grad, detach, NumPy)'
            )
        self.untraced = [
            name
            for name, module in skeleton.named_modules()
            if name not in self._nodes and channels_of(module, 'out') is not None
        ]

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def layers(self) -> list[str]:
        """Names of the convolutions and linear layers that ran, in the order of the model.

        Deformable and locally connected ones too.
        """
        return [
            name
            for name, module in self._modules.items()
            if name in self._nodes and has_filters(module)
        ]

    def removal(self, name: str, channels: Iterable[int]) -> Removal:
        """Find what has to go with output channels of a layer.

        Args:
            name: A convolution or linear layer.
            channels: Its channels that are to go.
        """
        root = self._nodes[name]
        handler = self._graph.get_pruner_of_module(root.module).prune_out_channels
        found: dict[tuple[Node, str], dict[int, int]] = {}
        removal = Removal()
        start = [_HybridIndex(idx=channel, root_idx=channel) for channel in channels]
        stack = [(root, handler, start)]
        while stack:
            node, handler, indices = stack.pop()
            side = 'out' if self._graph.is_out_channel_pruning_fn(handler) else 'in'
            known = found.setdefault((node, side), {})
            new = [index for index in indices if index.idx not in known]
            new, obstacle = self._accept(node, side, new)
            if obstacle:
                removal.obstacle = obstacle
                return removal
            known.update((index.idx, index.root_idx) for index in new)
            if not new:
                continue
            for dependency in node.dependencies:
                if dependency.is_triggered_by(handler):
                    mapped = new
                    for mapping in dependency.index_mapping:
                        mapped = mapped if mapping is None else mapping(mapped)
                    if mapped:
                        stack.append((dependency.target, dependency.handler, mapped))
        for (node, side), indices in found.items():
            place = self._place(node, side)
            if place is not None and indices:
                removal.places.setdefault(place, {}).update(indices)
        return removal

    def _accept(
        self, node: Node, side: str, indices: list[_HybridIndex]
    ) -> tuple[list[_HybridIndex], str | None]:
        """The indices that go on at a node, or the reason why they cannot."""
        if node.type == ops.OPTYPE.OUTPUT:
            return [], 'they are outputs of the model'
        if flattens_reordered(node):
            return [], 'they are flattened in an order that cannot be followed'
        if rearranges_channels(node):
            return [], 'they are rearranged in an order that cannot be followed'
        if joins_unknown(node):
            return [], 'they are joined with others in an order that cannot be followed'
        if node.grad_fn is not None and not shape_of(node):
            return [], None  # one number that weighs all channels
        place = self._place(node, side)
        if place is None or not indices:
            return indices, None
        name = place[0]
        width = self.width(place)
        if width is None:
            kind = type(self._modules.get(name, node.module)).__name__
            return [], f'they reach {name} ({kind}), whose channels cannot be removed'
        if width == 1 and side == 'out':
            return [], None  # one map that is spread over all channels
        if any(not 0 <= index.idx < width for index in indices):
            return [], f'how {name} reads them cannot be followed'
        return indices, None

    def _place(self, node: Node, side: str) -> Place | None:
        if node.module in self._names:
            return self._names[node.module], side
        if isinstance(node.module, nn.Parameter):
            return self._graph._param_to_name[node.module], 'out'
        return None

    def width(self, place: Place) -> int | None:
        """Number of channels of a place; None if they cannot be removed."""
        name, side = place
        if name in self._parameters:
            parameter = self._parameters[name]
            return parameter.shape[channel_dim(parameter)]
        return channels_of(self._modules[name], side)


def _trace(model: nn.Module, images: Tensor) -> list[Tensor]:
    # eval() of some backbones freezes their stages again.
    model.requires_grad_(True)
    with _ThroughDetach():
        outputs = every_output(model, images)
    # An operation of its own, so that the graph tells outputs from layers that are read on.
    return [output * 1.0 for output in outputs if output.requires_grad]


class _ThroughDetach(TorchFunctionMode):
    """What reads a map reads its channels, even if it does not train what made them."""

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function in (Tensor.detach, torch.detach):
            return args[0].clone()
        return function(*args, **(kwargs or {}))


def merged(removals: Iterable[Mapping[Place, Iterable[int]]]) -> dict[Place, set[int]]:
    """All that goes, of several removals."""
    found: dict[Place, set[int]] = {}
    for removal in removals:
        for place, channels in removal.items():
            found.setdefault(place, set()).update(channels)
    return found
