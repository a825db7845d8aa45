"""In which order layer-wise learning takes the layers of a network, and where each one ends.

The built-in rule, given through the plugin hook ``layer_order`` like anyone's:

- A layer is a convolution, linear or attention layer with the normalisation, activation and pooling
  behind it, named as ``layers='auto'`` of the measure names it.
- A module that branches inside, so that not all of its input passes through each of its parts (a
  residual block, an Inception module, squeeze and excitation), is one layer and not cut; so is
  every module of the same class, with a shortcut or without. Backbone, neck and heads themselves
  are always taken apart, and so is a module that takes or returns several maps (other than a map
  and its normalised copy).
- Layers come in the order in which the forward pass ends them.
- A module that runs several times in a pass, such as a head that the levels of a pyramid share, is
  one layer, read at its first run.
- What predicts (a layer without normalisation and activation that no other layer depends on) is no
  layer: it is trained with labels.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.autograd.graph import Node

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.layer_graph import LayerGraph
from mmlayerwise.plugins import hookimpl, installed_plugins
from mmlayerwise.separation.layers import Layer, LayerSelection
from mmlayerwise.separation.taps import Tap

# The parts of a model that the toolboxes put together; each is a network, not a block.
_ROLE = re.compile(r'(^|_)(backbone|neck|encoder|decoder|heads?)($|_)')
_POOLING = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)


@dataclass(frozen=True)
class ForwardLayer:
    """A layer to learn.

    Attributes:
        output: Where it ends.
        parameters: Names of all parameters that the output depends on, earlier layers' included.
        own_parameters: Those that no earlier layer's output depends on.
        own_modules: Names of the modules that first run between the earlier layers' ends and this
            one's.
        normalized: Whether a normalisation layer is among these.
    """

    output: Layer
    parameters: frozenset[str]
    own_parameters: frozenset[str]
    own_modules: tuple[str, ...]
    normalized: bool

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.output.name


def find_layers(
    model: nn.Module, forward: Callable[[], Any], layers: LayerSelection = 'auto'
) -> list[ForwardLayer]:
    """Find the layers of a model, first to last.

    Args:
        model: The model; it is left as it was found.
        forward: Runs the model on one batch.
        layers: ``'auto'`` asks the plugins and then the built-in rule; ``'stages'`` or a list of
            names and regular expressions are resolved as the measure does.

    Returns:
        The layers with something to learn.

    Raises:
        ForwardLearningError: If there are none.
        SeparationError: For a name that matches nothing.
    """
    graph = LayerGraph(model, forward)
    if layers == 'auto':
        names = installed_plugins().ask('layer_order', model=model, graph=graph)
        found = [graph.trace.select([name])[0] for name in names or ()]
    else:
        found = _first_runs(graph.trace.select(layers))
    found = [_behind_pooling(graph, layer) for layer in found]
    described = _describe(graph, found)
    if not described:
        raise ForwardLearningError(
            f'{type(model).__name__} has no layer to learn forward: no convolution, linear or '
            'attention layer lies before its predictions. Name layers by layers=[...], or give a '
            'plugin that answers layer_order.'
        )
    return described


@hookimpl
def layer_order(model: nn.Module, graph: LayerGraph) -> Sequence[str]:
    """Order the layers by the rule of this module.

    Args:
        model: The model.
        graph: What one forward pass computes from what.

    Returns:
        Names of modules, first to last.
    """
    names = _Units(graph).names('')
    first = {name: graph.trace.select([name])[0] for name in names}
    runs = [layer for name in names for layer in graph.trace.select([name])]
    ends = [node for node in (graph.output(layer.tap) for layer in runs) if node is not None]
    used = set().union(*(graph.ancestors([end]) - {end} for end in ends))
    bare = {chain.layer for chain in graph.trace.chains if chain.stage == 0}
    kept = [name for name in names if name not in bare or graph.output(first[name].tap) in used]
    return sorted(
        kept, key=lambda name: graph.position[first[name].tap.module, first[name].tap.call]
    )


class _Units:
    """Divides a model into layers and blocks."""

    def __init__(self, graph: LayerGraph) -> None:
        self.graph = graph
        self.layers = {chain.layer for chain in graph.trace.chains}
        # Where what a layer computed begins: not between a tensor and its normalised copy.
        self.ends = {
            node
            for chain in graph.trace.chains
            for node in graph.outputs(chain.layer, chain.number)
        }
        self.with_layers = {
            layer[:end] for layer in self.layers for end in [0, *_dots(layer), len(layer)]
        }
        candidates = [name for name in self.with_layers if self._may_be_block(name)]
        self.block_types = {
            type(graph.modules[name]) for name in candidates if self._branches(name)
        }

    def names(self, root: str) -> list[str]:
        """Names of the layers and blocks below a module."""
        found = []
        for name in self._children(root):
            if name in self.layers or self._is_block(name):
                found.append(name)
            else:
                found += self.names(name)
        return found

    def _children(self, root: str) -> list[str]:
        names = [
            f'{root}.{child}' if root else child
            for child, _ in self.graph.modules[root].named_children()
        ]
        return [name for name in names if name in self.graph.modules and name in self.with_layers]

    def _is_block(self, name: str) -> bool:
        return type(self.graph.modules[name]) in self.block_types and self._may_be_block(name)

    def _may_be_block(self, name: str) -> bool:
        if not name or name in self.layers or _ROLE.search(name.rpartition('.')[2]):
            return False
        if type(self.graph.modules[name]).forward in (
            nn.Sequential.forward,
            nn.ModuleList.forward,
        ):
            return False
        return self._source(name) is not None and self.graph.returns_one_tensor(name)

    def _source(self, name: str) -> Node | None:
        """What a module is given: one tensor, or one tensor with a normalised copy of it."""
        given = self.graph.inputs(name)
        reached = {one: self.graph.ancestors([one]) for one in given}
        for source in given:
            between = set().union(*reached.values()) - reached[source]
            if all(source in found for found in reached.values()) and not between & self.ends:
                return source
        return None

    def _branches(self, name: str) -> bool:
        """Whether some of the input reaches the output past one of the module's parts."""
        source, target = self._source(name), self.graph.outputs(name)[0]
        return any(
            not self.graph.passes_through(source, target, self.graph.outputs(part))
            for part in self._parts(name)
        )

    def _parts(self, root: str) -> list[str]:
        """The modules that a module calls and that hold layers; lists are looked into."""
        parts = []
        for name in self._children(root):
            parts += [name] if self.graph.outputs(name) else self._parts(name)
        return parts


def _dots(name: str) -> list[int]:
    return [place for place, sign in enumerate(name) if sign == '.']


def _first_runs(layers: Sequence[Layer]) -> list[Layer]:
    """Leave out later runs of a module of which an earlier one is there."""
    first: dict[tuple, Layer] = {}
    for layer in layers:
        first.setdefault((layer.tap.module, layer.tap.key), layer)
    return list(first.values())


def _behind_pooling(graph: LayerGraph, layer: Layer) -> Layer:
    """Move the end of a layer behind the pooling that its output goes into, if nowhere else."""
    node = graph.output(layer.tap)
    if node is None or graph.is_one_of_several(node):
        return layer
    start = graph.position[layer.tap.module, layer.tap.call]
    for call in graph.trace.calls[start + 1 :]:
        pools = isinstance(graph.modules[call.module], _POOLING)
        if not pools or graph.inputs(call.module, call.number) != [node]:
            continue
        if graph.users(node) == set(graph.outputs(call.module, call.number)):
            key, shape = call.outputs[0]
            return Layer(Tap(layer.name, call.module, call.number, key), shape)
    return layer


def _describe(graph: LayerGraph, found: Sequence[Layer]) -> list[ForwardLayer]:
    earlier: frozenset[str] = frozenset()
    described, seen, start = [], set(), 0
    for layer in found:
        node = graph.output(layer.tap)
        parameters = frozenset() if node is None else graph.parameters(node)
        end = graph.position[layer.tap.module, layer.tap.call] + 1
        modules = [call.module for call in graph.trace.calls[start:end] if call.module not in seen]
        if not parameters - earlier:
            continue
        described.append(
            ForwardLayer(
                layer,
                parameters,
                parameters - earlier,
                tuple(dict.fromkeys(modules)),
                any(graph.kinds.get(name) == 'norm' for name in modules),
            )
        )
        seen.update(modules)
        earlier |= parameters
        start = max(start, end)
    return described
