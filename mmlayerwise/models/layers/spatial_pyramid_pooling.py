"""Averages over coarse grids beside the features they come from."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from mmlayerwise.models.layers.pre_activated_conv import PreActivatedConv


class SpatialPyramidPooling(nn.Module):
    """Features of each image averaged over grids, enlarged again and fused with the features.

    That of Kreso et al., arXiv 1905.05661, section 4.1: cells are as good as square, with as many
    columns for a number of rows as the map's shape asks for.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        grids: Rows of each grid.
        level_channels: Channels that each grid contributes.
        norm_cfg: The normalisation; batch normalisation by default.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grids: Sequence[int] = (8, 4, 2, 1),
        level_channels: int = 128,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.grids = tuple(grids)
        self.levels = nn.ModuleList(
            PreActivatedConv(in_channels, level_channels, 1, norm_cfg) for _ in grids
        )
        width = in_channels + len(self.grids) * level_channels
        self.fuse = PreActivatedConv(width, out_channels, 1, norm_cfg)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Add context.

        Args:
            inputs: Tensor of shape (N, in_channels, H, W).

        Returns:
            Tensor of shape (N, out_channels, H, W).
        """
        height, width = size = inputs.shape[2:]
        maps = [inputs]
        for rows, level in zip(self.grids, self.levels, strict=True):
            columns = max(1, round(rows * width / height))
            averages = level(F.adaptive_avg_pool2d(inputs, (rows, columns)))
            maps.append(F.interpolate(averages, size, mode='bilinear', align_corners=False))
        return self.fuse(torch.cat(maps, dim=1))
