"""The lean way up of Ladder DenseNet."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from torch import nn

from mmlayerwise.models.layers.pre_activated_conv import PreActivatedConv
from mmlayerwise.models.layers.spatial_pyramid_pooling import SpatialPyramidPooling
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class LadderDenseHead(BaseDecodeHead):
    """Blend the outputs of the dense blocks from coarse to fine, one convolution a step.

    The last block is compressed to 128 channels; three times the map is enlarged bilinearly,
    the block's output of that resolution, compressed to 128 channels too, is appended, and a 3x3
    convolution blends both into 128. All units are normalisation, ReLU and convolution. The scores
    have the stride of the first block, 4. With 19 classes and DenseNet-121, which goes without the
    normalisation behind its last block, 9,190,656 parameters.

    Kreso, Krapac and Segvic, Ladder-style DenseNets for semantic segmentation of large natural
    images (2017), figure 2; spatial pyramid pooling: the same, arXiv 1905.05661.

    Args:
        in_channels: Channels of the dense blocks, the finest first.
        channels: Channels of the way up.
        bottleneck_channels: Channels between the last block and the way up.
        pyramid_grids: Rows of the grids of spatial pyramid pooling behind the bottleneck, such as
            (8, 4, 2, 1); empty to go without.
        norm_cfg: The normalisation; batch normalisation by default.
        dropout_ratio: Before the classifier.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``.

    Raises:
        UserError: If there are less than two blocks.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 1024),
        channels: int = 128,
        bottleneck_channels: int = 512,
        pyramid_grids: Sequence[int] = (),
        norm_cfg: dict | None = None,
        dropout_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if len(in_channels) < 2:
            raise UserError(
                'LadderDenseHead: in_channels are those of at least two dense blocks, not '
                f'{list(in_channels)}'
            )
        defaults = dict(
            in_index=list(range(len(in_channels))),
            input_transform='multiple_select',
            init_cfg=dict(
                type='Kaiming', layer='Conv2d', override=dict(type='Xavier', name='conv_seg')
            ),
        )
        super().__init__(
            in_channels,
            channels,
            norm_cfg=norm_cfg or dict(type='BN'),
            dropout_ratio=dropout_ratio,
            **{**defaults, **kwargs},
        )
        *skips, deepest = in_channels
        self.context = nn.Sequential(
            PreActivatedConv(deepest, bottleneck_channels, 1, self.norm_cfg)
        )
        if pyramid_grids:
            pyramid = SpatialPyramidPooling(
                bottleneck_channels, bottleneck_channels, pyramid_grids, channels, self.norm_cfg
            )
            self.context.append(pyramid)
        self.context.append(PreActivatedConv(bottleneck_channels, channels, 3, self.norm_cfg))
        # The coarsest first.
        self.skips = nn.ModuleList(
            PreActivatedConv(width, channels, 1, self.norm_cfg) for width in reversed(skips)
        )
        self.blends = nn.ModuleList(
            PreActivatedConv(2 * channels, channels, 3, self.norm_cfg) for _ in skips
        )
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 1, bias=False)

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Score every position of the finest map.

        Args:
            inputs: Outputs of the dense blocks.

        Returns:
            Scores of shape (N, num_classes, H / 4, W / 4).
        """
        *finer, deepest = self._transform_inputs(inputs)
        features = self.context(deepest)
        for block, skip, blend in zip(reversed(finer), self.skips, self.blends, strict=True):
            enlarged = resize(
                features,
                size=block.shape[2:],
                mode='bilinear',
                align_corners=self.align_corners,
            )
            features = blend(torch.cat([enlarged, skip(block)], dim=1))
        return self.cls_seg(features.relu())
