"""Modulated deformable convolution (DCN v2) under mmcv's calling conventions."""

from torch import Tensor

from mmlayerwise.ops import deformable
from mmlayerwise.ops.deformable_geometry import Geometry
from mmlayerwise.ops.extension import implements


def _geometry(
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
) -> Geometry:
    return Geometry(
        (kernel_h, kernel_w),
        (stride_h, stride_w),
        (pad_h, pad_w),
        (dilation_h, dilation_w),
        group,
        deformable_group,
    )


@implements('modulated_deform_conv_forward')
def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Convolve into ``output``.

    Args:
        input: Input (N, C, H, W).
        weight: Weights (C_out, C / group, kernel_h, kernel_w).
        bias: Bias (C_out,); ignored without ``with_bias``.
        ones: Scratch of the compiled operator, unused.
        offset: Displacements (N, 2 * deformable_group * kernel_h * kernel_w, Ho, Wo), y before x.
        mask: Modulation (N, deformable_group * kernel_h * kernel_w, Ho, Wo).
        output: Written in place (N, C_out, Ho, Wo).
        columns: Scratch of the compiled operator, unused.
        with_bias: Add the bias.
        **geometry: ``kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h,
            dilation_w, group`` and ``deformable_group``.
    """
    result = deformable.forward(input, offset, mask, weight, _geometry(**geometry))
    if with_bias:
        result += bias.view(1, -1, 1, 1)
    output.copy_(result)


@implements('modulated_deform_conv_backward')
def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Write the gradients of offset and mask; add the others to the tensors given for them."""
    gradients = deformable.backward(input, offset, mask, weight, grad_output, _geometry(**geometry))
    grad_input.add_(gradients.input)
    grad_weight.add_(gradients.weight)
    grad_offset.copy_(gradients.offset)
    grad_mask.copy_(gradients.mask)
    if with_bias:
        grad_bias.add_(grad_output.to(gradients.input.dtype).sum((0, 2, 3)))
