"""Which layers a model has, in execution order, and where each is tapped.

One forward pass is traced. A convolution or linear layer is tapped after the normalisation and the
activation that take its very output, found by following the tensor itself: a block's ReLU that
serves three convolutions gives each its own call, and an activation may be called as a function.
"""

import re
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from mmlayerwise.separation.activations import ActivationWatch
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.taps import Key, Tap, part_name, tensors_of, undisturbed

LayerSelection = str | Sequence[str]

_ATTENTION = re.compile(r'(Attention|Attn|MSA)(Module|Block|Layer|2d)?$')
_CONVOLUTION = re.compile(r'Conv\w*[123]d|DeformConv')
_NORMALISATION = re.compile(r'Norm(?!al)')
_ACTIVATION = re.compile(r'(ReLU|SiLU|Swish|ELU|Mish|Sigmoid|Tanh|Activation|Clip|Act)\d?$')
# What follows a module's name: the number of the call, the part of the output.
_PART = re.compile(r'(#\d+)?(\[\w+\])*$')
# head['scores'] means head[scores].
_QUOTED = re.compile(r'\[([\'"])(\w+)\1\]')
_HEAD = re.compile(r'(^|_)heads?($|_)|classifier$')


@dataclass(frozen=True)
class Layer:
    """A measurable layer output.

    Attributes:
        tap: Where it is read.
        shape: Shape of the output in the traced forward pass.
    """

    tap: Tap
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The tap's name."""
        return self.tap.name

    @property
    def module(self) -> str:
        """Name of the module that the layer is named after."""
        return _PART.sub('', self.name)


@dataclass
class _Call:
    """One call of a module with its outputs, or of an activation function on its output."""

    module: str
    number: int
    outputs: list[tuple[Key | None, tuple[int, ...]]]
    position: float  # in the order of the forward pass
    returned: str = 'Tensor'
    activation: bool = False


@dataclass
class _Chain:
    """A convolution, linear or attention layer with the normalisation and activation behind it."""

    layer: str
    number: int
    end: _Call
    output: weakref.ref  # the tensor that the end returned
    stage: int = 0  # 0: bare, 1: normalised, 2: activated
    source: '_Chain | None' = None
    feeds: list['_Chain'] = field(default_factory=list)


class Trace:
    """The modules of a model in the order in which one forward pass calls them.

    Args:
        model: The model.
        forward: Runs the model once; it may end early by an exception of its own.
    """

    def __init__(self, model: nn.Module, forward: Callable[[], Any]) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        self.calls: list[_Call] = []
        self.chains: list[_Chain] = []
        self._kinds = layer_kinds(model)
        self._counts: Counter[str] = Counter()
        self._producers: dict[int, tuple[weakref.ref, _Chain]] = {}
        self._inside = 0  # modules of a chain that are running
        handles = [
            module.register_forward_hook(self._hook(name), with_kwargs=True)
            for name, module in self.modules.items()
        ]
        handles += [
            self.modules[name].register_forward_pre_hook(self._entered) for name in self._kinds
        ]
        try:
            with undisturbed(model), ActivationWatch(self._activated):
                forward()
        finally:
            for handle in handles:
                handle.remove()
            self._producers.clear()

    def _hook(self, name: str) -> Callable:
        def record(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            self._inside -= name in self._kinds
            found = [(None, output)] if isinstance(output, Tensor) else tensors_of(output)
            floating = [(key, value) for key, value in found if value.is_floating_point()]
            outputs = [(key, tuple(value.shape)) for key, value in floating]
            number, position = self._counts[name], len(self.calls)
            call = _Call(name, number, outputs, position, _kind_of(output))
            self._counts[name] += 1
            self.calls.append(call)
            if floating:
                inputs = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
                self._follow(call, inputs[:1], floating[0][1])

        return record

    def _entered(self, module: nn.Module, args: tuple) -> None:
        self._inside += 1

    def _activated(self, before: Tensor, after: Tensor) -> None:
        """Extend a chain by an activation that is called as a function."""
        chain = self._producer(before)
        if self._inside or chain is None:
            return
        if chain.stage < 2 and chain.output() is before:
            end = chain.end
            # Between the module that returned last and the one that returns next.
            position = len(self.calls) - 0.5
            chain.end = _Call(end.module, end.number, end.outputs[:1], position, activation=True)
            chain.stage = 2
        self._produced(after, chain)

    def _follow(self, call: _Call, inputs: list[Tensor], output: Tensor) -> None:
        kind = self._kinds.get(call.module)
        source = self._producer(inputs[0]) if inputs else None
        if kind == 'layer':
            chain = _Chain(call.module, call.number, call, weakref.ref(output), source=source)
            if source is not None:
                source.feeds.append(chain)
            self.chains.append(chain)
            self._produced(output, chain)
        elif kind in ('norm', 'act') and source is not None:
            stage = 1 if kind == 'norm' else 2
            if source.stage < stage and call.outputs[0][1] == source.end.outputs[0][1]:
                source.stage, source.end, source.output = stage, call, weakref.ref(output)
            self._produced(output, source)

    def _producer(self, tensor: Tensor) -> _Chain | None:
        reference, chain = self._producers.get(id(tensor), (None, None))
        return chain if reference is not None and reference() is tensor else None

    def _produced(self, tensor: Tensor, chain: _Chain) -> None:
        self._producers[id(tensor)] = (weakref.ref(tensor), chain)

    def blocks(self) -> list[Layer]:
        """Every convolution, linear and attention block, tapped at the end of its chain."""
        chains = sorted(self.chains, key=lambda chain: chain.end.position)
        return [self._layer_of(chain) for chain in chains]

    def _layer_of(self, chain: _Chain) -> Layer:
        key, shape = chain.end.outputs[0]
        name = self._numbered(chain.layer, chain.number)
        end = chain.end
        return Layer(Tap(name, end.module, end.number, key, end.activation), shape)

    def _numbered(self, name: str, number: int) -> str:
        return f'{name}#{number}' if self._counts[name] > 1 else name

    def outputs(self, name: str) -> list[Layer]:
        """The outputs of one module, a layer of several calls or outputs giving several."""
        if self._kinds.get(name) == 'layer':
            return [self._layer_of(chain) for chain in self.chains if chain.layer == name]
        layers = []
        for call in self.calls:
            if call.module != name:
                continue
            base = self._numbered(name, call.number)
            for key, shape in call.outputs:
                layers.append(Layer(Tap(part_name(base, key), name, call.number, key), shape))
        return layers

    def stages(self) -> list[Layer]:
        """The backbone's stages, the neck's levels and the heads' towers, in execution order.

        A backbone that returns one map is divided where the resolution changes. A tower is what a
        prediction layer (one without normalisation and activation) of a head reads. A model
        without ``backbone`` is divided like one.
        """
        children = dict(self.model.named_children())
        if 'backbone' not in children:
            return self._resolutions('')
        found = self.outputs('backbone')
        if len(found) < 2:
            found = self._resolutions('backbone')
        if 'neck' in children:
            found += self.outputs('neck')
        for child in children:
            if _HEAD.search(child):
                found += self._towers(child)
        return self.in_order(found)

    def _resolutions(self, root: str) -> list[Layer]:
        """The last unit of each run of equal resolution among a module's direct units."""
        units = [layer for name in self._units(root) for layer in self.outputs(name)[-1:]]
        units = [unit for unit in self.in_order(units) if len(unit.shape) >= 2]
        sizes = [unit.shape[2:] if len(unit.shape) == 4 else unit.shape[1:-1] for unit in units]
        return [
            unit
            for unit, size, following in zip(units, sizes, [*sizes[1:], None], strict=True)
            if size != following
        ]

    def _units(self, root: str) -> list[str]:
        """Names of the modules below ``root``, plain containers replaced by what they contain."""
        names = []
        for child, module in self.modules[root].named_children():
            name = f'{root}.{child}' if root else child
            plain = type(module).forward in (nn.Sequential.forward, nn.ModuleList.forward)
            names += self._units(name) if plain else [name]
        return names

    def _towers(self, head: str) -> list[Layer]:
        inside = [chain for chain in self.chains if f'{chain.layer}.'.startswith(f'{head}.')]
        return [
            self._layer_of(chain)
            for chain in inside
            if chain.stage and any(not fed.stage and fed in inside for fed in chain.feeds)
        ]

    def in_order(self, layers: Sequence[Layer]) -> list[Layer]:
        """Layers in the order in which the forward pass ends them, each once."""
        calls = [*self.calls, *(chain.end for chain in self.chains)]
        position = {(one.module, one.number, one.activation): one.position for one in calls}
        keys = {layer.tap: place for place, layer in enumerate(layers)}
        unique = {layer.name: layer for layer in layers}.values()
        return sorted(
            unique,
            key=lambda layer: (
                position[layer.tap.module, layer.tap.call, layer.tap.activation],
                keys[layer.tap],
            ),
        )

    def select(self, layers: LayerSelection) -> list[Layer]:
        """Resolve ``'auto'``, ``'stages'`` or a list of names and regular expressions.

        Raises:
            SeparationError: For a name or expression that matches nothing, with the close names,
                and for a module that the forward pass did not call.
        """
        if layers == 'auto':
            return self.blocks()
        if layers == 'stages':
            return self.stages()
        wanted = [layers] if isinstance(layers, str) else list(layers)
        if not wanted:
            raise SeparationError("No layers were chosen; give names, 'stages' or 'auto'.")
        return self.in_order([layer for name in wanted for layer in self._named(name)])

    def _named(self, wanted: str) -> list[Layer]:
        wanted = _QUOTED.sub(r'[\2]', wanted)
        if wanted in self.modules and wanted:
            return self._run_outputs([wanted], wanted)
        base = _PART.sub('', wanted)
        if base != wanted and base in self.modules:
            entries = self._run_outputs([base], base)
            chosen = [entry for entry in entries if entry.name == wanted]
            if not chosen:
                names = ', '.join(entry.name for entry in entries)
                raise SeparationError(f'{base!r} has no output {wanted!r}; there are {names}.')
            return chosen
        try:
            pattern = re.compile(wanted)
        except re.error as error:
            raise SeparationError(f'{wanted!r} is no regular expression: {error}.') from error
        matches = [name for name in self.modules if name and pattern.fullmatch(name)]
        if matches:
            return self._run_outputs(matches, wanted)
        close = get_close_matches(wanted, [name for name in self.modules if name], n=5, cutoff=0.4)
        raise SeparationError(
            f'No layer is named or matched by {wanted!r}. '
            + (f'Close names: {", ".join(close)}.' if close else 'See model.named_modules().')
        )

    def _run_outputs(self, names: list[str], wanted: str) -> list[Layer]:
        found = [layer for name in names for layer in self.outputs(name)]
        ran = [call for call in self.calls if call.module in names]
        if not found and ran:
            kinds = ', '.join(dict.fromkeys(f'{call.module} a {call.returned}' for call in ran))
            raise SeparationError(
                f'{wanted!r} returns no floating-point tensor: {kinds}. Choose a module before it '
                'or inside it; a part of a tuple, list, dict or dataclass is named as neck[0] or '
                "head['scores']."
            )
        if not found:
            raise SeparationError(
                f'{wanted!r} is part of the model, but the forward pass of inference does not call '
                'it (an auxiliary head, or a container?). Choose a layer that runs.'
            )
        return found


def _kind_of(output: Any) -> str:
    """What a module returned, in words."""
    kind = type(output).__name__
    if isinstance(output, tuple | list) and output:
        return f'{kind} of {type(output[0]).__name__}'
    return kind


def layer_kinds(model: nn.Module) -> dict[str, str]:
    """Name of every module that matters to a chain -> ``layer``, ``norm`` or ``act``.

    What lies inside a layer (an attention's projections, a deformable convolution's offsets) is
    left out.
    """
    kinds: dict[str, str] = {}
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        kind = _kind(module)
        if kind:
            kinds[name] = kind
        if kind == 'layer':
            inside = (*inside, f'{name}.')
    return kinds


def _kind(module: nn.Module) -> str | None:
    name = type(module).__name__
    own = {key for key, _ in module.named_parameters(recurse=False)}
    if isinstance(module, _ConvNd | nn.Linear | nn.MultiheadAttention):
        return 'layer'
    if ('weight' in own and _CONVOLUTION.search(name)) or _ATTENTION.search(name):
        return 'layer'
    if isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm):
        return 'norm'
    leaf = not any(True for _ in module.children())
    if leaf and _NORMALISATION.search(name):
        return 'norm'
    if leaf and (
        type(module).__module__ == 'torch.nn.modules.activation' or _ACTIVATION.search(name)
    ):
        return 'act'
    return None
