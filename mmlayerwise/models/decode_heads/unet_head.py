"""The way up of a U-Net behind any backbone that returns a pyramid."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.backbones.unet import BasicConvBlock
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import UpConvBlock
from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class UNetHead(BaseDecodeHead):
    """Decoder of a U-Net (Ronneberger et al., 2015) for an encoder of another family.

    Each step doubles the resolution of what comes from below, appends the encoder's map of that
    resolution and convolves both: mmseg's ``UpConvBlock``, as in its ``UNet``. The prediction has
    the resolution of the finest map.

    Args:
        in_channels: Channels of the encoder's maps, the finest first; each map has half the
            resolution of the one before.
        in_index: Which outputs of the backbone these are; by default the first ones.
        num_convs: Convolutions of every step.
        **kwargs: What ``BaseDecodeHead`` takes. ``channels`` is the width of the last step; the
            others are as wide as the map of the encoder that they append.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        in_index: Sequence[int] | None = None,
        num_convs: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            list(in_channels),
            channels,
            in_index=list(range(len(in_channels)) if in_index is None else in_index),
            input_transform='multiple_select',
            **kwargs,
        )
        self.steps = nn.ModuleList()
        below = in_channels[-1]
        # From the coarsest to the finest.
        for level in reversed(range(len(in_channels) - 1)):
            width = in_channels[level] if level else channels
            self.steps.append(
                UpConvBlock(
                    BasicConvBlock,
                    in_channels=below,
                    skip_channels=in_channels[level],
                    out_channels=width,
                    num_convs=num_convs,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    act_cfg=self.act_cfg,
                    # By its scope, so that any default scope will do.
                    upsample_cfg=dict(type='mmseg.InterpConv'),
                )
            )
            below = width

    def forward(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Classify every pixel of the finest map.

        Args:
            inputs: Maps of the backbone; the chosen ones of shape (N, C_i, H / 2 ** i, W / 2 ** i).

        Returns:
            Logits of shape (N, num_classes, H, W).
        """
        *finer, features = self._transform_inputs(inputs)
        for step, skip in zip(self.steps, reversed(finer), strict=True):
            features = step(skip, features)
        return self.cls_seg(features)

    def keep_levels(self, count: int) -> None:
        """Go without the coarsest maps.

        Args:
            count: How many of the finest maps stay.
        """
        self.steps = self.steps[len(self.in_channels) - count :]
        self.in_channels = self.in_channels[:count]
        self.in_index = self.in_index[:count]
