"""A convolution in two parts."""

from collections import OrderedDict

from torch import nn


class SeparableConv2d(nn.Sequential):
    """A filter for each channel, without bias, and a 1x1 convolution that mixes the channels.

    It keeps height and width.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd size of the filters in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=in_channels,
            bias=False,
        )
        pointwise = nn.Conv2d(in_channels, out_channels, 1)
        super().__init__(OrderedDict(depthwise=depthwise, pointwise=pointwise))
