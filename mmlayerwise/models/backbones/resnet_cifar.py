"""ResNet with a stem for small images."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmdet.models.backbones import ResNet
from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class ResNetCIFAR(ResNet):
    """ResNet (He et al., 2016) for 32x32 images.

    mmdet's ResNet, except that one 3x3 convolution of stride 1 replaces the 7x7 one of stride 2 and
    the pooling behind it. The four stages and their keys are those of ImageNet's ResNet.

    Args:
        depth: 18, 34, 50, 101 or 152.
        out_indices: Which of the four stages to return.
        norm_eval: Whether batch normalisation uses its running statistics in training too.
        **kwargs: Further arguments of mmdet's ResNet.
    """

    def __init__(
        self,
        depth: int,
        out_indices: Sequence[int] = (3,),
        norm_eval: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(depth, out_indices=out_indices, norm_eval=norm_eval, **kwargs)

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        self.conv1 = build_conv_layer(
            self.conv_cfg, in_channels, stem_channels, kernel_size=3, padding=1, bias=False
        )
        self.norm1_name, norm1 = build_norm_layer(self.norm_cfg, stem_channels, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
