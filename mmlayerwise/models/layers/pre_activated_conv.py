"""A convolution behind normalisation and ReLU, the unit of dense networks."""

from mmcv.cnn import ConvModule


class PreActivatedConv(ConvModule):
    """Normalisation, ReLU and a convolution that keeps the size.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd size of the kernel.
        norm_cfg: The normalisation; batch normalisation by default.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            padding=kernel_size // 2,
            norm_cfg=norm_cfg or dict(type='BN'),
            order=('norm', 'act', 'conv'),
        )
