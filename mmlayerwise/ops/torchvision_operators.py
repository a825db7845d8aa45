"""The compiled operators of torchvision, where it is installed and works."""

import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

# One tiny call each. torchvision imports without its compiled library, and a CPU build imports
# beside a CUDA torch; only a call tells.
_PROBES: dict[str, Callable[[Callable[..., Any], Callable[..., Tensor]], Any]] = {
    'nms': lambda operator, zeros: operator(zeros(1, 4), zeros(1), 0.5),
    'roi_align': lambda operator, zeros: operator(
        zeros(1, 1, 2, 2), zeros(1, 5), (1, 1), 1.0, 1, True
    ),
    'deform_conv2d': lambda operator, zeros: operator(
        zeros(1, 1, 2, 2), zeros(1, 2, 2, 2), zeros(1, 1, 1, 1)
    ),
}


@cache
def torchvision_operator(name: str, device_type: str) -> Callable[..., Any] | None:
    """Return ``torchvision.ops.<name>`` if it is compiled for the device.

    Args:
        name: One of ``nms``, ``roi_align`` and ``deform_conv2d``.
        device_type: ``torch.device.type`` of the tensors to come, such as ``'cpu'``.

    Returns:
        The function, or None if torchvision is absent, broken or not compiled for the device.
    """
    module = _torchvision_ops()
    operator = getattr(module, name, None)
    if operator is None:
        return None

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, device=device_type)

    try:
        _PROBES[name](operator, zeros)
    except Exception as error:
        warnings.warn(
            f'torchvision is installed, but its {name} does not run on {device_type} ({error}); '
            'the PyTorch version of mmlayerwise serves instead',
            stacklevel=2,
        )
        return None
    return operator


@cache
def _torchvision_ops() -> ModuleType | None:
    if find_spec('torchvision') is None:
        return None
    try:
        return import_module('torchvision.ops')
    except Exception as error:  # a build for another torch fails with any of several errors
        warnings.warn(
            f'torchvision is installed, but does not import ({error}); '
            'the PyTorch operators of mmlayerwise serve instead',
            stacklevel=3,
        )
        return None
