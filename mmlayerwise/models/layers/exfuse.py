"""Blocks of ExFuse: semantics for fine maps, resolution for coarse ones."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import nn
from torch.nn import functional as F


class SemanticEmbeddingBranch(BaseModule):
    """A fine map times all coarser ones, each convolved and enlarged.

    Zhang et al. (2018), section 3.3 and figure 4. It starts near passing the fine map through, as
    a product of several random maps would carry neither features nor gradients.

    Args:
        in_channels: Channels of the fine map and of the output.
        coarse_channels: Channels of each coarser map.
        align_corners: That of the bilinear interpolation.
    """

    def __init__(
        self, in_channels: int, coarse_channels: Sequence[int], align_corners: bool = False
    ) -> None:
        super().__init__(init_cfg=dict(type='Normal', layer='Conv2d', std=0.001, bias=1))
        self.align_corners = align_corners
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, in_channels, 3, padding=1) for channels in coarse_channels
        )

    def forward(self, features: torch.Tensor, coarser: Sequence[torch.Tensor]) -> torch.Tensor:
        """Multiply.

        Args:
            features: Tensor of shape (N, in_channels, H, W).
            coarser: Tensors of shape (N, coarse_channels[i], h, w).

        Returns:
            Tensor of shape (N, in_channels, H, W).
        """
        size = features.shape[-2:]
        for coarse, conv in zip(coarser, self.convs, strict=True):
            features = features * F.interpolate(
                conv(coarse), size, mode='bilinear', align_corners=self.align_corners
            )
        return features


class DenselyAdjacentPrediction(nn.Module):
    """Every position predicts its neighbours too, and is predicted by their average.

    Zhang et al. (2018), section 3.5: the channels of a class are one for each neighbour. Positions
    beyond the border predict nothing and are not counted.

    Args:
        window: Rows and columns of the neighbourhood, odd: k.
    """

    def __init__(self, window: int = 3) -> None:
        super().__init__()
        self.window = window

    def forward(self, predictions: torch.Tensor) -> torch.Tensor:
        """Average.

        Args:
            predictions: Tensor of shape (N, num_classes * k * k, H, W): channel
                ``(c * k + row) * k + column`` holds the scores of class c at ``(row - k // 2,
                column - k // 2)`` from the position.

        Returns:
            Tensor of shape (N, num_classes, H, W).
        """
        size = predictions.shape[-2:]
        ones = predictions.new_ones(1, self.window**2, size[0] * size[1])
        return self._fold(predictions.flatten(2), size) / self._fold(ones, size)

    def _fold(self, columns: torch.Tensor, size: torch.Size) -> torch.Tensor:
        return F.fold(columns, size, self.window, padding=self.window // 2)
