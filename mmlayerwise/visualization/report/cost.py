"""Parameters and multiply-adds between one measured layer and the next."""

import re
import weakref
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.separation.batches import Batch, Forward
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.taps import Tap, Taps, tensors_of, undisturbed
from mmlayerwise.visualization.report.data import LayerCost, ModelCost

_UNCOUNTED_SHOWN = 5
# A layer's name: module, maybe number of the call, maybe part of the output.
_NAME = re.compile(r'(.*?)(?:#(\d+))?(?:\[\w+\])?')


def model_cost(
    model: nn.Module, layers: Sequence[Layer], batch: Batch, forward: Forward
) -> tuple[ModelCost, list[str]]:
    """Divide the cost of a network among its measured layers, in execution order.

    A layer is charged with its own module and with what else runs after the measured layer before
    it: a convolution that is read behind the sum of its residual block runs before the block's
    downsampling, which is read earlier. The multiply-adds of a
    module that runs several times (a head on several levels) are divided in proportion to the
    number of values it returns, which is exact for convolutions and linear layers.

    Args:
        model: The network; it is left as it was found.
        layers: The measured layers.
        batch: Input of a forward pass.
        forward: Runs the model on it.

    Returns:
        The cost, and notes on what could not be counted.
    """
    calls = _Calls(model, [layer.tap for layer in layers])
    with undisturbed(model), calls.recorded():
        forward(model, batch.inputs)
    flops, notes = _count_flops(model, layers, batch, forward)
    shared = calls.undivided()
    ends = sorted({end for tap, end in calls.ends.items() if tap.name not in shared})
    parameters, multiply_adds = _sums(calls, ends, calls.own_ends(shared), flops)
    found = {}
    for layer in layers:
        if layer.name in shared:
            found[layer.name] = LayerCost()
            continue
        place = bisect_left(ends, calls.ends[layer.tap])
        found[layer.name] = LayerCost(parameters[place], multiply_adds[place] if flops else None)
    if shared:
        notes.append(
            f'No cost is given for {", ".join(sorted(shared))}: one module returns them '
            'together, so its cost cannot be divided among them.'
        )
    total = sum(parameter.numel() for parameter in model.parameters())
    return ModelCost(total, sum(flops.values()) if flops else None, found), notes


@dataclass
class _Calls:
    """The calls of all modules in one forward pass, in the order in which they end.

    Attributes:
        model: The network.
        taps: The measured places.
        names: Module of each call.
        sizes: How many values each call returned.
        ends: Number of the call that ends each tap.
        guessed: Taps whose tensor comes from an unknown place inside the module that returns it.
    """

    model: nn.Module
    taps: Sequence[Tap]
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    ends: dict[Tap, int] = field(default_factory=dict)
    guessed: set[Tap] = field(default_factory=set)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record what runs inside."""
        wanted = defaultdict(list)
        for tap in self.taps:
            wanted[tap.module, tap.call].append(tap)
        numbers: Counter[str] = Counter()
        producers: dict[int, tuple[weakref.ref, int]] = {}

        def hook_of(name: str) -> Callable:
            def hook(module: nn.Module, args: tuple, output: Any) -> None:
                call = len(self.names)
                single = isinstance(output, Tensor)
                tensors = {None: output} if single else dict(tensors_of(output))
                self.names.append(name)
                self.sizes.append(sum(value.numel() for value in tensors.values()))
                for tap in wanted.get((name, numbers[name]), ()):
                    tensor = tensors.get(tap.key)
                    reference, maker = producers.get(id(tensor), (None, call))
                    known = reference is not None and reference() is tensor
                    self.ends[tap] = maker if known and not single else call
                    if not known and not single:
                        self.guessed.add(tap)
                if single:
                    producers[id(output)] = (weakref.ref(output), call)
                numbers[name] += 1

            return hook

        handles = [
            module.register_forward_hook(hook_of(name))
            for name, module in self.model.named_modules()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def own_ends(self, shared: set[str]) -> dict[tuple[str, int], int]:
        """Module and call that a tap is named after -> the end of the tap."""
        found: dict[tuple[str, int], int] = {}
        for tap, end in self.ends.items():
            module, number = _NAME.fullmatch(tap.name).groups()
            if tap.name not in shared:
                found.setdefault((module, int(number or 0)), end)
        return found

    def undivided(self) -> set[str]:
        """Names of the taps that one module returns together from places unknown."""
        crowds = Counter(self.ends[tap] for tap in self.guessed)
        return {tap.name for tap in self.guessed if crowds[self.ends[tap]] > 1}


def _sums(
    calls: _Calls,
    ends: Sequence[int],
    own: dict[tuple[str, int], int],
    flops: dict[str, float],
) -> tuple[list[int], list[float]]:
    """Parameters and multiply-adds of each section between two ends; the rest comes last."""
    parameters, multiply_adds = [0] * (len(ends) + 1), [0.0] * (len(ends) + 1)
    modules = dict(calls.model.named_modules())
    returned: Counter[str] = Counter()
    for name, size in zip(calls.names, calls.sizes, strict=True):
        returned[name] += size
    repeats = Counter(calls.names)
    counted: set[int] = set()
    numbers: Counter[str] = Counter()
    for call, (name, size) in enumerate(zip(calls.names, calls.sizes, strict=True)):
        section = bisect_left(ends, own.get((name, numbers[name]), call))
        numbers[name] += 1
        share = size / returned[name] if returned[name] else 1 / repeats[name]
        multiply_adds[section] += share * flops.get(name, 0)
        for parameter in modules[name].parameters(recurse=False):
            if id(parameter) not in counted:
                counted.add(id(parameter))
                parameters[section] += parameter.numel()
    return parameters, multiply_adds


class _UpToTaps(nn.Module):
    """A network as a function of tensors alone, which is what can be traced."""

    def __init__(self, model: nn.Module, taps: Sequence[Tap], run: Callable[[], Any]) -> None:
        super().__init__()
        self.model = model
        self._taps = taps
        self._run = run

    def forward(self, anchor: Tensor) -> Tensor:
        """Run the network; what the taps depend on stays in the trace."""
        sums = [anchor]
        with Taps(self.model, self._taps, lambda _, value: sums.append(value.sum())) as taps:
            taps.run(self._run)
        return torch.stack([one.float() for one in sums]).sum()


def _count_flops(
    model: nn.Module, layers: Sequence[Layer], batch: Batch, forward: Forward
) -> tuple[dict[str, float], list[str]]:
    """Multiply-adds of each module's own operations for one image; nothing if it cannot be traced.

    Counted by mmengine's ``FlopAnalyzer``.
    """
    try:
        from mmengine.analysis import FlopAnalyzer

        device = next((one.device for one in model.parameters()), torch.device('cpu'))
        traced = _UpToTaps(
            model, [layer.tap for layer in layers], lambda: forward(model, batch.inputs)
        )
        analyzer = FlopAnalyzer(traced, (torch.zeros((), device=device),))
        analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analyzer.set_op_handle('aten::sum', None)  # those at the taps are not the network's
        with undisturbed(model):
            inclusive = analyzer.tracer_warnings('none').by_module()
            uncounted = analyzer.unsupported_ops()
    except Exception as error:  # tracing runs the model's own code: anything may come
        reason = str(error).strip().partition('\n')[0][:200]
        return {}, [
            f'FLOPs are missing: the network cannot be traced ({type(error).__name__}: {reason}).'
        ]
    own = Counter({name: inclusive[f'model.{name}' if name else 'model'] for name in _names(model)})
    for name in _names(model):
        if name:
            own[name.rpartition('.')[0]] -= inclusive[f'model.{name}']
    images = max(1, len(batch.truths))
    flops = {name: max(0, value) / images for name, value in own.items() if value > 0}
    if not flops:
        return {}, ['FLOPs are missing: none of the operations of this network can be counted.']
    notes = []
    if uncounted:
        shown = [f'{name} ({count})' for name, count in uncounted.most_common(_UNCOUNTED_SHOWN)]
        more = len(uncounted) - len(shown)
        notes.append(
            f'Not counted as FLOPs: {", ".join(shown)}{f" and {more} others" if more else ""}.'
        )
    return flops, notes


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules()]
