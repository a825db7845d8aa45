"""Blocks of the discriminative feature network."""

import torch
from mmcv.cnn import ConvModule
from torch import nn


class RefinementResidualBlock(nn.Module):
    """A 1x1 convolution to the block's width, and a residual of two 3x3 convolutions on it.

    Yu et al. (2018), figure 2C. The first 3x3 convolution is normalised and rectified.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        norm_cfg: Normalisation.
        rectified: Whether the sum is rectified.
    """

    def __init__(
        self, in_channels: int, out_channels: int, norm_cfg: dict, rectified: bool = True
    ) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.residual = nn.Sequential(
            ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        self.activate = nn.ReLU() if rectified else nn.Identity()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Refine.

        Args:
            inputs: Tensor of shape (N, in_channels, H, W).

        Returns:
            Tensor of shape (N, out_channels, H, W).
        """
        projected = self.project(inputs)
        return self.activate(projected + self.residual(projected))


class ChannelAttentionBlock(nn.Module):
    """Fine channels, weighted by what the coarse stage sees, plus the coarse ones.

    Yu et al. (2018), figure 2D: the weights are a sigmoid of two 1x1 convolutions of the global
    averages of both.

    Args:
        channels: Channels of both inputs and of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Select and add.

        Args:
            fine: Tensor of shape (N, channels, H, W).
            coarse: Tensor of the same shape.

        Returns:
            Tensor of the same shape.
        """
        averages = torch.cat([fine, coarse], dim=1).mean((2, 3), keepdim=True)
        return self.attention(averages) * fine + coarse
