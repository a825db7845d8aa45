"""The cascade of RefineNet."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

from mmlayerwise.models.layers.refinement import RefineNetBlock
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class RefineNetHead(BaseDecodeHead):
    """Four refinement blocks from the coarsest map of the trunk to the finest.

    Lin, Milan, Shen and Reid, "RefineNet: Multi-Path Refinement Networks for High-Resolution
    Semantic Segmentation", arXiv 1611.06612, section 3. Scores have the size of the finest map,
    whatever the sizes of the others. The two coarsest maps are dropped out, as in the released
    networks.

    Args:
        in_channels: Channels of the trunk's maps, the finest first.
        block_channels: Channels of the blocks, the finest first.
        num_classes: Number of classes.
        num_poolings: Poolings of each chain: four in the released networks, two in the paper's
            figure.
        dropout_ratio: Of the two coarsest maps.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``.

    Raises:
        UserError: If there is not one block for each map.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        block_channels: Sequence[int] = (256, 256, 256, 512),
        *,
        num_classes: int,
        num_poolings: int = 4,
        dropout_ratio: float = 0.5,
        **kwargs: Any,
    ) -> None:
        if len(in_channels) != len(block_channels):
            raise UserError(
                f'RefineNetHead: {len(in_channels)} in_channels, {list(in_channels)}, need as many '
                f'block_channels, not {list(block_channels)}'
            )
        defaults = dict(
            in_index=list(range(len(in_channels))),
            input_transform='multiple_select',
            # Small weights keep the sums of many residuals small, which nothing normalises.
            init_cfg=dict(type='Normal', layer='Conv2d', std=0.01),
        )
        super().__init__(
            in_channels,
            block_channels[0],
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            **{**defaults, **kwargs},
        )
        self.conv_seg = nn.Conv2d(block_channels[0], self.out_channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout_ratio)
        self.blocks = nn.ModuleList(
            RefineNetBlock(width, channels, coarse, num_poolings, self.align_corners)
            for width, channels, coarse in zip(
                in_channels, block_channels, (*block_channels[1:], None), strict=True
            )
        )

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Score every position of the finest map.

        Args:
            inputs: Maps of the trunk.

        Returns:
            Scores of shape (N, num_classes, H, W), H and W those of the finest map.
        """
        maps = self._transform_inputs(inputs)
        maps = [*maps[:-2], *(self.dropout(features) for features in maps[-2:])]
        refined = None
        for features, block in zip(reversed(maps), reversed(self.blocks), strict=True):
            refined = block(features, refined)
        return self.conv_seg(refined)
