"""Deformable convolution by torchvision's compiled operator, where torchvision is installed."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from mmlayerwise.ops.deformable_geometry import Geometry
from mmlayerwise.ops.sampling import accumulation_dtype


@cache
def compiled_operator() -> Callable[..., Tensor] | None:
    """Return ``torchvision.ops.deform_conv2d`` if torchvision imports with compiled operators."""
    try:
        from torchvision.ops import deform_conv2d
    except (ImportError, OSError, RuntimeError):  # a build for another torch fails in its own ways
        return None
    return deform_conv2d if hasattr(torch.ops.torchvision, 'deform_conv2d') else None


def serves(input: Tensor) -> bool:
    """Tell whether the compiled operator can take this input; it takes no empty batch."""
    return input.shape[0] > 0 and compiled_operator() is not None


def forward(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, geometry: Geometry
) -> Tensor:
    """Convolve; see :func:`mmlayerwise.ops.deformable.forward`."""
    dtype = accumulation_dtype(input.dtype)
    return compiled_operator()(
        input.to(dtype),
        offset.to(dtype),
        weight.to(dtype),
        None,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        None if mask is None else mask.to(dtype),
    )


def backward(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    grad_output: Tensor,
    geometry: Geometry,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Differentiate :func:`forward` with respect to input, offset, mask and weight."""
    dtype = accumulation_dtype(input.dtype)
    leaves = [
        None if tensor is None else tensor.detach().to(dtype).requires_grad_()
        for tensor in (input, offset, mask, weight)
    ]
    with torch.enable_grad():
        output = forward(*leaves, geometry)
    present = [leaf for leaf in leaves if leaf is not None]
    gradients = iter(torch.autograd.grad(output, present, grad_output.to(dtype)))
    return tuple(None if leaf is None else next(gradients) for leaf in leaves)
