"""What a forward pass computes from what: the autograd graph, read beside the trace of layers."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge

from mmlayerwise.separation.layers import Trace, layer_kinds
from mmlayerwise.separation.taps import Tap, tensors_of

Call = tuple[str, int]


class LayerGraph:
    """One traced forward pass with its autograd graph.

    The graph knows every operation, functional ones too, so it tells exactly what depends on what.

    Args:
        model: The model; parameters, buffers, modes and random states are left as they were.
        forward: Runs the model once on a batch; it may end early by an exception of its own.

    Attributes:
        model: The model.
        modules: Its modules by name.
        trace: The layers, in the order of execution.
        position: Module and number of its call -> place in the order in which calls end.
    """

    def __init__(self, model: nn.Module, forward: Callable[[], Any]) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        self.kinds = layer_kinds(model)
        self._inputs: dict[Call, list[Node]] = {}
        self._outputs: dict[Call, dict[int | str | None, Node]] = {}
        self._edges: dict[Node, tuple[Node, ...]] = {}
        with _gradients_of_all(model), self._recording():

            def run() -> Any:
                with torch.enable_grad():
                    return forward()

            self.trace = Trace(model, run)
        self._parameters = {id(value): name for name, value in model.named_parameters()}
        self.position = {
            (call.module, call.number): place for place, call in enumerate(self.trace.calls)
        }

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Hooks that note the graph nodes of what goes into and out of every module."""
        started, ended = Counter(), Counter()

        def enter(name: str) -> Callable:
            def record(module: nn.Module, args: tuple, kwargs: dict) -> None:
                given = [value for value in (*args, *kwargs.values()) if _tracked(value)]
                self._inputs[name, started[name]] = [_node(value) for value in given]
                started[name] += 1

            return record

        def leave(name: str) -> Callable:
            def record(module: nn.Module, args: tuple, output: Any) -> None:
                found = [(None, output)] if isinstance(output, Tensor) else tensors_of(output)
                nodes = {key: _node(value) for key, value in found if _tracked(value)}
                self._outputs[name, ended[name]] = nodes
                ended[name] += 1

            return record

        handles = [self.model.register_forward_pre_hook(_track_inputs, with_kwargs=True)]
        for name, module in self.modules.items():
            handles.append(module.register_forward_pre_hook(enter(name), with_kwargs=True))
            handles.append(module.register_forward_hook(leave(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def inputs(self, name: str, number: int = 0) -> list[Node]:
        """Nodes of the tensors that a call of a module was given."""
        return self._inputs.get((name, number), [])

    def output(self, tap: Tap) -> Node | None:
        """Node of what a tap reads; None where it depends on nothing that can be learned."""
        return self._outputs.get((tap.module, tap.call), {}).get(tap.key)

    def outputs(self, name: str, number: int = 0) -> list[Node]:
        """Nodes of the tensors that a call of a module returned."""
        return list(self._outputs.get((name, number), {}).values())

    def returns_one_tensor(self, name: str) -> bool:
        """Whether a module returned a tensor, and not a tuple, list or dict."""
        return None in self._outputs.get((name, 0), {})

    def ancestors(self, starts: Iterable[Node], without: Iterable[Node] = ()) -> set[Node]:
        """Everything the nodes depend on, themselves included.

        Args:
            starts: Nodes to start from.
            without: Nodes not to go through.
        """
        found: set[Node] = set()
        closed = set(without)
        waiting = [node for node in starts if node not in closed]
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found.add(node)
            waiting += [one for one in self._next(node) if one not in found and one not in closed]
        return found

    def passes_through(self, source: Node, target: Node, middle: Iterable[Node]) -> bool:
        """Whether the target depends on the source through the nodes in the middle alone."""
        return source not in self.ancestors([target], middle)

    def users(self, node: Node) -> set[Node]:
        """What is computed from a node directly."""
        everything = self.ancestors(
            one for nodes in self._outputs.values() for one in nodes.values()
        )
        return {one for one in everything if node in self._next(one)}

    def is_one_of_several(self, node: Node) -> bool:
        """Whether a module returns the node's tensor beside others."""
        return any(
            found is node
            for nodes in self._outputs.values()
            for key, found in nodes.items()
            if key is not None
        )

    def parameters(self, node: Node) -> frozenset[str]:
        """Names of the parameters that a node depends on."""
        variables = (getattr(one, 'variable', None) for one in self.ancestors([node]))
        names = (self._parameters.get(id(one)) for one in variables if one is not None)
        return frozenset(name for name in names if name is not None)

    def _next(self, node: Node) -> tuple[Node, ...]:
        # Kept: a node is known by its Python object, which lives as long as someone holds it.
        if node not in self._edges:
            self._edges[node] = tuple(one for one, _ in node.next_functions if one is not None)
        return self._edges[node]


def _tracked(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _node(tensor: Tensor) -> Node:
    return get_gradient_edge(tensor).node


def _track_inputs(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Let the graph begin at the images, not behind the first parameters."""

    def tracked(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point() and not value.requires_grad:
            # A copy of the leaf, which an operation in place may change.
            return value.detach().requires_grad_().clone()
        return value

    return tuple(map(tracked, args)), {key: tracked(value) for key, value in kwargs.items()}


@contextmanager
def _gradients_of_all(model: nn.Module) -> Iterator[None]:
    """Let frozen parameters appear in the graph too."""
    frozen = [one for one in model.parameters() if not one.requires_grad]
    frozen = [one for one in frozen if one.is_floating_point()]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
