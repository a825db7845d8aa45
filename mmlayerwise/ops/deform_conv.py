"""Deformable convolution (DCN v1) under mmcv's calling conventions."""

from torch import Tensor

from mmlayerwise.ops import deformable
from mmlayerwise.ops.deformable_geometry import Geometry
from mmlayerwise.ops.extension import implements


def _geometry(
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
) -> Geometry:
    return Geometry(
        (kH, kW), (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group
    )


@implements('deform_conv_forward')
def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    im2col_step: int,
    **geometry: int,
) -> None:
    """Convolve into ``output``.

    Args:
        input: Input (N, C, H, W).
        weight: Weights (C_out, C / group, kH, kW).
        offset: Displacements (N, 2 * deformable_group * kH * kW, Ho, Wo), y before x.
        output: Written in place (N, C_out, Ho, Wo).
        columns: Scratch of the compiled operator, unused.
        ones: Scratch of the compiled operator, unused.
        im2col_step: Images the compiled operator takes at once; memory is bounded without it.
        **geometry: ``kW, kH, dW, dH`` (stride), ``padW, padH, dilationW, dilationH, group`` and
            ``deformable_group``.
    """
    output.copy_(deformable.forward(input, offset, None, weight, _geometry(**geometry)))


@implements('deform_conv_backward_input')
def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *,
    im2col_step: int,
    **geometry: int,
) -> None:
    """Add the gradient of the input to ``grad_input`` and write that of ``offset``."""
    gradients = deformable.backward(
        input, offset, None, weight, grad_output, _geometry(**geometry), needs_weight=False
    )
    grad_input.add_(gradients.input)
    grad_offset.copy_(gradients.offset)


@implements('deform_conv_backward_parameters')
def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    im2col_step: int,
    **geometry: int,
) -> None:
    """Add ``scale`` times the gradient of the weights to ``grad_weight``."""
    gradients = deformable.backward(
        input, offset, None, grad_weight, grad_output, _geometry(**geometry), needs_input=False
    )
    grad_weight.add_(gradients.weight, alpha=scale)
