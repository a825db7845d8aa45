"""Reading layers while a model runs, without leaving a trace in it."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmlayerwise.separation.activations import ActivationWatch
from mmlayerwise.separation.errors import SeparationError

# Where a tensor is in a module's output.
Key = int | str | tuple[int | str, ...]


@dataclass(frozen=True)
class Tap:
    """One place to read: an output of one call of one module.

    Attributes:
        name: What the reader sees, for example ``backbone[1]`` or ``bbox_head.cls_convs.3#2``.
        module: Name of the module whose output is read (a convolution's activation, say).
        call: Which call of that module within one forward pass, from 0.
        key: Position or key in the output where that is a tuple, list, dict or dataclass; a tuple
            of them where such are nested.
        activation: Whether to read what an activation called as a function makes of that output,
            see :class:`~mmlayerwise.separation.activations.ActivationWatch`.
    """

    name: str
    module: str
    call: int = 0
    key: Key | None = None
    activation: bool = False


class AllTapsRead(BaseException):
    """Raised inside a forward pass to end it; no ``except Exception`` of a model swallows it."""


class Taps:
    """Context manager that hands the output of every tap to a function while the model runs.

    The hooks return nothing, so the model computes exactly what it would compute without them, and
    they are removed when the context ends, however it ends.

    Args:
        model: The model to read.
        taps: Where to read.
        read: Called with the tap and its output as soon as the module returns. It must copy what it
            keeps: a later layer may write in place.
        stop_early: End a forward pass as soon as all taps were read.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Iterable[Tap],
        read: Callable[[Tap, Tensor], None],
        stop_early: bool = False,
    ) -> None:
        self.model = model
        self.taps = list(taps)
        self.read = read
        self.stop_early = stop_early
        self._wanted: dict[tuple[str, int], list[Tap]] = {}
        for tap in self.taps:
            self._wanted.setdefault((tap.module, tap.call), []).append(tap)
        self._calls: Counter[str] = Counter()
        self._seen: set[Tap] = set()
        self._awaited: list[tuple[Tap, Tensor]] = []
        activations = any(tap.activation for tap in self.taps)
        self._watch = ActivationWatch(self._activated) if activations else nullcontext()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> 'Taps':
        modules = dict(self.model.named_modules())
        missing = sorted({tap.module for tap in self.taps} - modules.keys())
        if missing:
            raise SeparationError(f'The model has no module named {", ".join(missing)}.')
        for name in dict.fromkeys(tap.module for tap in self.taps):
            hook = partial(self._hook, name)
            self._handles.append(modules[name].register_forward_hook(hook))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def run(self, forward: Callable[[], Any]) -> Any:
        """Run one forward pass; every tap is read once.

        Args:
            forward: Runs the model on one batch.

        Returns:
            What ``forward`` returned, or None if it was ended early.

        Raises:
            SeparationError: If a tap was not reached.
        """
        result = None
        with self.one_pass(), suppress(AllTapsRead):
            result = forward()
        return result

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """Within it the model runs forward once; every tap is read once.

        Raises:
            SeparationError: At the end, if a tap was not reached.
        """
        self._calls.clear()
        self._seen.clear()
        try:
            with self._watch:
                yield
        finally:
            self._awaited.clear()
        unread = {tap.name for tap in self.taps if tap not in self._seen}
        if unread:
            raise SeparationError(
                f'The forward pass did not reach {", ".join(sorted(unread))}: its path depends on '
                'the input. Choose layers that run for every input.'
            )

    def _hook(self, name: str, module: nn.Module, args: tuple, output: Any) -> None:
        key = (name, self._calls[name])
        self._calls[name] += 1
        for tap in self._wanted.get(key, ()):
            found = pick(output, tap.key, tap.name)
            if tap.activation:
                self._awaited.append((tap, found))
            else:
                self._read(tap, found)

    def _activated(self, before: Tensor, after: Tensor) -> None:
        for tap in [tap for tap, awaited in self._awaited if awaited is before]:
            self._awaited = [pair for pair in self._awaited if pair[0] is not tap]
            self._read(tap, after)

    def _read(self, tap: Tap, output: Tensor) -> None:
        self.read(tap, output)
        self._seen.add(tap)
        if self.stop_early and len(self._seen) == len(self.taps):
            raise AllTapsRead


def pick(output: Any, key: Key | None, name: str) -> Tensor:
    """Return the tensor of a module's output that a tap names.

    Raises:
        SeparationError: If it isn't there; the parts that are there are named.
    """
    found = output
    if key is not None:
        found = dict(tensors_of(output)).get(key)
    if not isinstance(found, Tensor):
        choices = [part_name(name, key) for key, _ in tensors_of(output)]
        raise SeparationError(
            f'Layer {name!r} returned {type(output).__name__}, not a tensor.'
            + (f' Choose one of {", ".join(choices)}.' if choices else '')
        )
    return found


def part_name(name: str, key: Key | None) -> str:
    """Name of a part of a layer's output: ``neck[0]``, ``head[0][2]``, ``head[scores]``."""
    keys = () if key is None else key if isinstance(key, tuple) else (key,)
    return name + ''.join(f'[{one}]' for one in keys)


def tensors_of(output: Any) -> list[tuple[Key, Tensor]]:
    """Keys and tensors of a tuple, list, dict or dataclass, nested ones too.

    Nothing for anything else.
    """
    if isinstance(output, dict):
        items = output.items()
    elif isinstance(output, tuple | list):
        items = enumerate(output)
    elif hasattr(output, '__dataclass_fields__'):
        items = vars(output).items()
    else:
        items = ()
    found: list[tuple[Key, Tensor]] = []
    for key, value in items:
        if isinstance(value, Tensor):
            found.append((key, value))
            continue
        for inner, tensor in tensors_of(value):
            path = inner if isinstance(inner, tuple) else (inner,)
            found.append(((key, *path), tensor))
    return found


@contextmanager
def undisturbed(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode without gradients; modes and random states return to what they were.

    Inside, Python's, NumPy's and torch's generators start from ``seed``, so that a measurement does
    not depend on when it is made.
    """
    modes = [(module, module.training) for module in model.modules()]
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        model.eval()
        with torch.no_grad():
            yield
    finally:
        # Module.train() would set the children too and unfreeze what was frozen by hand.
        for module, training in modes:
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
