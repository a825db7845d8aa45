"""Deformable convolution by torchvision's compiled operator, where torchvision is installed."""

import torch
from torch import Tensor

from mmlayerwise.ops.deformable_geometry import Geometry
from mmlayerwise.ops.torchvision_operators import torchvision_operator


def serves(input: Tensor) -> bool:
    """Tell whether the compiled operator can take this input; it takes no empty batch."""
    if not input.shape[0]:
        return False
    return torchvision_operator('deform_conv2d', input.device.type) is not None


def forward(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, geometry: Geometry
) -> Tensor:
    """Convolve; see :func:`mmlayerwise.ops.deformable.forward`."""
    operator = torchvision_operator('deform_conv2d', input.device.type)
    return operator(
        input,
        offset,
        weight,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        mask=mask,
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
    leaves = [
        None if tensor is None else tensor.detach().requires_grad_()
        for tensor in (input, offset, mask, weight)
    ]
    with torch.enable_grad():
        output = forward(*leaves, geometry)
    present = [leaf for leaf in leaves if leaf is not None]
    gradients = iter(torch.autograd.grad(output, present, grad_output))
    return tuple(None if leaf is None else next(gradients) for leaf in leaves)
