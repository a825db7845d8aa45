"""Upsampling by a transposed convolution that starts as bilinear interpolation."""

import torch
from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class BilinearConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution whose filters interpolate each channel bilinearly.

    The filters have 2 * stride - stride % 2 rows and columns. There is no padding: of the output,
    the first kernel_size - stride rows and columns are shared with what lies outside.

    Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation",
    arXiv 1411.4038, section 3.3.

    Args:
        channels: Channels of input and output.
        stride: Factor of the upsampling.
        learned: Whether the filters, one for each pair of channels, are trained. Otherwise there is
            one fixed filter for each channel, no parameter and nothing in the checkpoint.
    """

    def __init__(self, channels: int, stride: int, learned: bool = True) -> None:
        super().__init__(
            channels,
            channels,
            kernel_size=2 * stride - stride % 2,
            stride=stride,
            groups=1 if learned else channels,
            bias=False,
        )
        if not learned:
            weight = self.weight.detach()
            del self.weight
            self.register_buffer('weight', weight, persistent=False)

    def reset_parameters(self) -> None:
        """Set the filters to bilinear interpolation."""
        with torch.no_grad():
            kernel = bilinear_kernel(self.kernel_size[0]).to(self.weight)
            self.weight.zero_()
            channels = torch.arange(self.in_channels, device=self.weight.device)
            self.weight[channels, channels if self.groups == 1 else 0] = kernel


def bilinear_kernel(size: int) -> torch.Tensor:
    """Make the filter of a bilinear interpolation.

    Args:
        size: Rows and columns.

    Returns:
        Float tensor of shape (size, size): the product of two triangles centred on the filter.
    """
    half = (size + 1) // 2
    triangle = 1 - (torch.arange(size) - (size - 1) / 2).abs() / half
    return triangle[:, None] * triangle
