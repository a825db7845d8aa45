"""The way up of an encoder-decoder by residual blocks."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.backbones.resnet import Bottleneck
from mmseg.models.utils import resize
from torch import nn


class ResidualPyramidDecoder(nn.Module):
    """From coarse to fine: enlarge, add the encoder's map, refine by a residual block.

    Every map of the encoder is brought to one width by a 1x1 convolution. The coarsest gets its
    average over the whole image added, through a 1x1 convolution, too; each other one the enlarged
    result of the coarser level. A bottleneck of ResNet refines the sum.

    Cheng et al., arXiv 1908.09798, figure 2.

    Args:
        in_channels: Channels of the encoder's maps, the finest first.
        channels: Channels of the results.
        norm_cfg: The normalisation.
        align_corners: How maps are enlarged bilinearly.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        norm_cfg: dict,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.laterals = nn.ModuleList(
            ConvModule(width, channels, 1, norm_cfg=norm_cfg) for width in in_channels
        )
        # Of one value for each channel and image, which no batch normalisation can do with.
        self.context = ConvModule(in_channels[-1], channels, 1)
        self.blocks = nn.ModuleList(
            Bottleneck(channels, channels // Bottleneck.expansion, norm_cfg=norm_cfg)
            for _ in in_channels
        )

    def forward(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Decode.

        Args:
            inputs: The encoder's maps, the finest first.

        Returns:
            As many tensors of shape (N, channels, H_i, W_i), the finest first.
        """
        coarser = self.context(inputs[-1].mean((2, 3), keepdim=True))
        outputs = []
        for features, lateral, block in zip(
            reversed(inputs), reversed(self.laterals), reversed(self.blocks), strict=True
        ):
            enlarged = resize(
                coarser,
                size=features.shape[2:],
                mode='bilinear',
                align_corners=self.align_corners,
            )
            coarser = block(lateral(features) + enlarged)
            outputs.insert(0, coarser)
        return outputs
