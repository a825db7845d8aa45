"""The deconvolution network of DeconvNet."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mmlayerwise.models.decode_heads.segnet_head import SegNetHead
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class DeconvNetHead(SegNetHead):
    """SegNet's way up by transposed convolutions, from the fully connected layers on.

    A transposed convolution gives fc7 the size of the last pooling again; unpoolings and 3x3
    transposed convolutions mirror VGG-16; a 1x1 convolution classifies. Every layer but the last is
    normalised. With :class:`SegmentationVGG`, 251,805,653 parameters for 21 classes.

    Noh, Hong and Han, "Learning Deconvolution Network for Semantic Segmentation", arXiv 1505.04366,
    section 3.

    Args:
        in_channels: Channels of fc7.
        stage_channels: Channels of the transposed convolutions after each unpooling. The first one
            has as many as the last pooling.
        fc_kernel_size: Rows and columns of the filters of fc6, which the first one mirrors.
        init_cfg: Initialisation config of mmengine; small random filters by default.
        **kwargs: Arguments of :class:`SegNetHead`.
    """

    conv_cfg_of_stages = dict(type='mmlayerwise.BiasedConvTranspose2d')

    def __init__(
        self,
        in_channels: int = 4096,
        stage_channels: Sequence[Sequence[int]] = (
            (512, 512, 512),
            (512, 512, 256),
            (256, 256, 128),
            (128, 64),
            (64, 64),
        ),
        fc_kernel_size: int = 7,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        pooled = stage_channels[0][0]
        super().__init__(
            pooled,
            stage_channels,
            init_cfg=init_cfg
            or dict(type='Normal', std=0.01, layer=['Conv2d', 'BiasedConvTranspose2d']),
            **kwargs,
        )
        self.in_channels = in_channels
        # As a direct child, a ConvModule would initialise itself after init_cfg has.
        self.fc_deconv = nn.Sequential(
            self._convolution(in_channels, pooled, fc_kernel_size, padding=0)
        )
        self.conv_seg = nn.Conv2d(self.channels, self.out_channels, 1)

    def _transform_inputs(self, inputs: tuple[Any, ...]) -> torch.Tensor:
        """From fc7 to the size of the last pooling."""
        return self.fc_deconv(super()._transform_inputs(inputs))
