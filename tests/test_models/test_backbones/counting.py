"""Counting parameters and multiply-adds, independently of any library's counter."""

import torch
from torch import nn

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.meta_device import meta_device


def build_on_meta(*configs: dict) -> nn.ModuleList:
    """Build modules without memory for their weights."""
    with meta_device():
        return nn.ModuleList(MODELS.build(config) for config in configs)


def count_parameters(*configs: dict) -> int:
    """Number of parameters of the modules together."""
    return sum(parameter.numel() for parameter in build_on_meta(*configs).parameters())


def count_multiply_adds(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiplications of the convolutions and linear layers in one forward pass."""
    total = 0

    def add(layer: nn.Module, _: tuple, output: torch.Tensor) -> None:
        nonlocal total
        # Every output value takes one product for each weight of its filter or row.
        total += output.numel() * layer.weight[0].numel()

    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(add) for layer in layers]
    module.eval()(*inputs)
    for handle in handles:
        handle.remove()
    return total


def linear_head(in_channels: int, num_classes: int = 1000) -> dict:
    """Config of a head of one layer."""
    return {'type': 'LinearClsHead', 'num_classes': num_classes, 'in_channels': in_channels}


def stacked_head(in_channels: int, *mid_channels: int, num_classes: int = 1000) -> dict:
    """Config of a head of several layers."""
    return {
        'type': 'StackedLinearClsHead',
        'num_classes': num_classes,
        'in_channels': in_channels,
        'mid_channels': mid_channels,
    }


def synthetic_checkpoint(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """A state dict of random values with a foreign library's keys."""
    generator = torch.Generator().manual_seed(0)
    return {key: torch.rand(shape, generator=generator) for key, shape in shapes.items()}
