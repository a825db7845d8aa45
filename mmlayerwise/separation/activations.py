"""Activations that a model calls as functions, ``F.relu`` say, and not as modules."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Sigmoid, tanh and their like are left out: called as functions they mostly gate something else.
_NAMES = (
    'celu', 'elu', 'gelu', 'hardswish', 'leaky_relu', 'mish', 'prelu', 'relu', 'relu6', 'rrelu',
    'selu', 'silu', 'threshold',
)  # fmt: skip
_FUNCTIONS = {
    getattr(where, name)
    for where in (F, torch, Tensor)
    for base in _NAMES
    for name in (base, f'{base}_')
    if hasattr(where, name)
}


class ActivationWatch(TorchFunctionMode):
    """Context manager that shows every call of an activation function.

    It computes what the model would compute without it. Calls inside modules such as ``nn.ReLU``
    are shown too.

    Args:
        seen: Called with the input and the output of the activation.
    """

    def __init__(self, seen: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _FUNCTIONS:
            self.seen(args[0] if args else kwargs['input'], output)
        return output
