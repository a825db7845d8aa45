"""Upsampling by a plain transposed convolution."""

from typing import Any

from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class TransposedUpsample(nn.ConvTranspose2d):
    """A 2x2 transposed convolution of stride 2, as the paper of the U-Net has it.

    For ``upsample_cfg`` of mmseg's U-Net, whose own ``DeconvModule`` adds a normalisation and an
    activation.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        **_: What mmseg gives to every upsampling; not used.
    """

    def __init__(self, in_channels: int, out_channels: int, **_: Any) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)
