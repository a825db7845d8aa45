"""What a network costs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.compression.dependency.skeleton import skeleton_of
from mmlayerwise.compression.dependency.slicing import is_locally_connected
from mmlayerwise.compression.outputs import Example, every_output, example_images
from mmlayerwise.compression.plan import Cost


def measure_cost(model: nn.Module, example: Example | None = None) -> Cost:
    """Count parameters, multiply-adds and bytes.

    Args:
        model: The network, on any device.
        example: Images or their height and width, see
            :func:`~mmlayerwise.compression.outputs.example_images`. A two-stage detector is counted
            with one region a level.

    Returns:
        The cost; the multiply-adds are those of convolutions and linear layers for one image, as
        the literature on compression counts them.
    """
    skeleton = skeleton_of(model)
    return cost_of(skeleton, example_images(skeleton, example))


def cost_of(skeleton: nn.Module, images: Tensor) -> Cost:
    """Count the cost of a copy that can run; see :func:`measure_cost`."""
    state = skeleton.state_dict().values()
    return Cost(
        parameters=count_parameters(skeleton),
        flops=count_multiply_adds(skeleton, lambda: every_output(skeleton, images)) / len(images),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in state),
    )


def count_parameters(model: nn.Module) -> int:
    """Count the values of all parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, run: Callable[[], Any]) -> int:
    """Count the multiply-adds of the convolutions and linear layers in a forward pass.

    Args:
        model: The network.
        run: Runs it.

    Returns:
        Their number.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal total
        # Each of these values meets all weights of one channel (at its place) once.
        values = inputs[0] if getattr(module, 'transposed', False) else output
        weight = module.weight[0, 0] if is_locally_connected(module) else module.weight[0]
        total += values.numel() * weight.numel()

    handles = [
        module.register_forward_hook(count) for module in model.modules() if _multiplies(module)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return total


def _multiplies(module: nn.Module) -> bool:
    # Also the deformable convolutions of mmcv.
    weight = getattr(module, 'weight', None)
    widths = hasattr(module, 'in_channels') or hasattr(module, 'in_features')
    return isinstance(weight, nn.Parameter) and weight.dim() >= 2 and widths
