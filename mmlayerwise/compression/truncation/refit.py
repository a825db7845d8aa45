"""New weights for layers that read other features than before."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from mmlayerwise.compression.dependency.slicing import is_deformable, is_depthwise


def refit(model: nn.Module, skeleton: nn.Module, run: Callable[[nn.Module], Any]) -> list[str]:
    """Make every layer as wide as what it reads.

    Args:
        model: The network, changed in place; it needs not be able to run.
        skeleton: A copy that can run.
        run: Runs a network once.

    Returns:
        Names of the layers whose weights are new. A convolution or linear layer gets weights of
        torch's default initialisation and keeps its bias.
    """
    names = {module: name for name, module in skeleton.named_modules()}
    widths: dict[str, int] = {}

    def check(module: nn.Module, inputs: tuple) -> None:
        channels = inputs[0].shape[-1 if isinstance(module, nn.Linear) else 1]
        if channels != _reads(module):
            _widen(module, channels)
            widths[names[module]] = channels

    handles = [
        module.register_forward_pre_hook(check)
        for module in skeleton.modules()
        if _reads(module) is not None
    ]
    try:
        with torch.no_grad():
            run(skeleton)
    finally:
        for handle in handles:
            handle.remove()
    for name, channels in widths.items():
        _widen(model.get_submodule(name), channels)
    return list(widths)


def _reads(module: nn.Module) -> int | None:
    """How many channels a module reads; None for one that takes any number."""
    if isinstance(module, _ConvNd) or is_deformable(module):
        return module.in_channels
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, _NormBase):
        return module.num_features
    return module.num_channels if isinstance(module, nn.GroupNorm) else None


def _widen(module: nn.Module, channels: int) -> None:
    if isinstance(module, _NormBase | nn.GroupNorm):
        _widen_norm(module, channels)
    elif isinstance(module, nn.Linear):
        module.in_features = channels
        _renew(module, 'weight', (module.out_features, channels))
    elif is_depthwise(module):
        module.in_channels = module.out_channels = module.groups = channels
        _renew(module, 'weight', (channels, *module.weight.shape[1:]))
        if module.bias is not None:
            _renew(module, 'bias', (channels,))
    else:
        module.in_channels = channels
        first, second, *kernel = module.weight.shape
        shape = (first, channels // module.groups, *kernel)
        if getattr(module, 'transposed', False):
            shape = (channels, second, *kernel)
        _renew(module, 'weight', shape)


def _widen_norm(module: nn.Module, channels: int) -> None:
    if isinstance(module, nn.GroupNorm):
        module.num_channels = channels
    else:
        module.num_features = channels
    for name, value in (('weight', 1), ('bias', 0), ('running_mean', 0), ('running_var', 1)):
        old = getattr(module, name, None)
        if old is None:
            continue
        new = torch.full((channels,), value, dtype=old.dtype, device=old.device)
        setattr(module, name, _like(old, new))


def _renew(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    old = getattr(module, name)
    new = old.detach().new_empty(shape)
    if new.dim() > 1:
        nn.init.kaiming_uniform_(new, a=sqrt(5))
    else:
        new.zero_()
    setattr(module, name, _like(old, new))


def _like(old: Tensor, new: Tensor) -> Tensor:
    return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
