"""Finding the first convolution of a model and reading its input."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.patches import Convolution
from mmlayerwise.separation.layers import layer_kinds
from mmlayerwise.separation.taps import AllTapsRead, undisturbed


@dataclass(frozen=True)
class FirstConvolution:
    """A convolution that reads the model's input.

    Attributes:
        name: Its name in the model.
        module: The convolution.
        batch_norm: Name of the batch normalisation that takes its output, if one does.
    """

    name: str
    module: Convolution
    batch_norm: str | None


def find_first_convolution(
    model: nn.Module, forward: Callable[[], Any], name: str | None = None
) -> FirstConvolution:
    """Find the convolution that reads the model's input.

    What the data pass before it, a space-to-depth step or a table of character vectors, may have no
    weights but those of an embedding or a normalisation.

    Args:
        model: The model; it is left as it was found.
        forward: Runs the model on one batch.
        name: The convolution to take, where several read the input; the first by default.

    Returns:
        The convolution.

    Raises:
        ForwardLearningError: If there is none, or ``name`` is another layer; the message lists
            those that read the input.
    """
    trace = _Trace(model, forward)
    candidates = trace.candidates
    modules = dict(model.named_modules())
    if name is None:
        if not candidates:
            raise ForwardLearningError(_why_none(trace, modules))
        name = candidates[0]
    elif name not in candidates:
        raise ForwardLearningError(_why_not(name, modules, trace))
    return FirstConvolution(name, modules[name], trace.norms.get(name))


def read_input(model: nn.Module, module: nn.Module, forward: Callable[[], Any]) -> Tensor:
    """Read what one forward pass gives to a module, and end the pass there.

    Args:
        model: The model, in the mode in which it is to be read.
        module: A part of it.
        forward: Runs the model on one batch.

    Returns:
        The first argument of the module's first call.
    """
    found: list[Tensor] = []

    def stop(module: nn.Module, args: tuple) -> None:
        found.append(args[0].detach())
        raise AllTapsRead

    handle = module.register_forward_pre_hook(stop)
    try:
        forward()
    except AllTapsRead:
        pass
    finally:
        handle.remove()
    if not found:
        raise ForwardLearningError('The forward pass did not reach the layer on every batch.')
    return found[0]


class _Trace:
    """Which layers a forward pass runs, and which convolutions read what the first one reads.

    Attributes:
        called: Names of the layers, in order.
        candidates: The convolutions that read the input of the first layer, in order.
        norms: Convolution -> batch normalisation that takes its output.
    """

    def __init__(self, model: nn.Module, forward: Callable[[], Any]) -> None:
        self.called: dict[str, nn.Module] = {}
        self.candidates: list[str] = []
        self.norms: dict[str, str] = {}
        # Kept, so that no later tensor can lie at their address.
        self._input: Tensor | None = None
        self._outputs: dict[str, Tensor] = {}
        handles = []
        kinds = layer_kinds(model)
        for name, module in model.named_modules():
            if kinds.get(name) == 'layer':
                handles.append(module.register_forward_pre_hook(self._enter(name)))
                handles.append(module.register_forward_hook(self._leave(name)))
            elif isinstance(module, _BatchNorm):
                handles.append(module.register_forward_pre_hook(self._normalise(name)))
        try:
            with undisturbed(model):
                forward()
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Callable:
        def record(module: nn.Module, args: tuple) -> None:
            given = args[0] if args and isinstance(args[0], Tensor) else None
            if not self.called:
                self._input = given
            is_first_call = name not in self.called
            self.called.setdefault(name, module)
            if is_first_call and isinstance(module, Convolution) and _same(given, self._input):
                self.candidates.append(name)

        return record

    def _leave(self, name: str) -> Callable:
        def record(module: nn.Module, args: tuple, output: Any) -> None:
            if name in self.candidates and isinstance(output, Tensor):
                self._outputs.setdefault(name, output)

        return record

    def _normalise(self, name: str) -> Callable:
        def record(module: nn.Module, args: tuple) -> None:
            for source, output in self._outputs.items():
                if args and args[0] is output:
                    self.norms.setdefault(source, name)

        return record


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return (
        one is not None
        and other is not None
        and one.data_ptr() == other.data_ptr()
        and one.shape == other.shape
        and one.stride() == other.stride()
    )


def _why_none(trace: _Trace, modules: dict[str, nn.Module]) -> str:
    convolutions = [name for name, module in modules.items() if isinstance(module, Convolution)]
    if not convolutions:
        return 'The model has no convolution (nn.Conv1d or nn.Conv2d), so none can be learned.'
    if not trace.called:
        return 'The forward pass runs no layer, so the first convolution is unknown.'
    name, module = next(iter(trace.called.items()))
    return (
        f'No convolution reads the input: the first layer that runs is {name} '
        f'({type(module).__name__}). Quasi least squares learn a first nn.Conv1d or nn.Conv2d.'
    )


def _why_not(name: str, modules: dict[str, nn.Module], trace: _Trace) -> str:
    names = ', '.join(trace.candidates) or 'none'
    listed = f' Convolutions that read the input: {names}.'
    if name not in modules:
        convolutions = [key for key, module in modules.items() if isinstance(module, Convolution)]
        close = get_close_matches(name, convolutions, n=3, cutoff=0.4)
        hint = f' Close names: {", ".join(close)}.' if close else ''
        return f'The model has no layer named {name!r}.{hint}{listed}'
    module = modules[name]
    if not isinstance(module, Convolution):
        return f'{name!r} is a {type(module).__name__}, not an nn.Conv1d or nn.Conv2d.{listed}'
    if name not in trace.called:
        return f'{name!r} does not run in a forward pass of inference.{listed}'
    return f"{name!r} does not read the model's input.{listed}"
