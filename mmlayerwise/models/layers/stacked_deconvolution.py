"""Blocks of the stacked deconvolutional network."""

import torch
from torch import nn

from mmlayerwise.models.backbones.densenet_cifar import DenseLayer


class CompressedDenseBlock(nn.Sequential):
    """Layers that append to their input, and a 3x3 convolution that compresses it all.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; None for no compression.
        num_layers: Layers before the compression.
        growth_rate: Channels that a layer appends.

    Attributes:
        out_channels: Channels of the output.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None, num_layers: int, growth_rate: int
    ) -> None:
        super().__init__()
        width = in_channels
        for _ in range(num_layers):
            self.append(DenseLayer(width, growth_rate, drop_rate=0.0))
            width += growth_rate
        self.out_channels = out_channels or width
        if out_channels:
            self.append(nn.Conv2d(width, out_channels, kernel_size=3, padding=1))


class DownsamplingBlock(nn.Module):
    """Max pooling, concatenation with an earlier map of the lower resolution, dense block.

    Fu et al., arXiv 1708.04943, figure 2b.

    Args:
        in_channels: Channels of the input.
        skip_channels: Channels of the earlier map.
        out_channels: Channels of the output.
        num_layers: Layers before the compression.
        growth_rate: Channels that a layer appends.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        num_layers: int,
        growth_rate: int,
    ) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.block = CompressedDenseBlock(
            in_channels + skip_channels, out_channels, num_layers, growth_rate
        )

    def forward(self, inputs: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Halve the resolution.

        Args:
            inputs: Tensor of shape (N, in_channels, H, W).
            skip: Tensor of shape (N, skip_channels, H // 2, W // 2).

        Returns:
            Tensor of shape (N, out_channels, H // 2, W // 2).
        """
        return self.block(torch.cat([self.pool(inputs), skip], dim=1))


class UpsamplingBlock(nn.Module):
    """Transposed convolution, concatenation with a map of the higher resolution, dense block.

    Fu et al., arXiv 1708.04943, figure 2c.

    Args:
        in_channels: Channels of the input.
        skip_channels: Channels of the map of the higher resolution.
        out_channels: Channels of the output; None for no compression.
        num_layers: Layers before the compression.
        growth_rate: Channels that a layer appends.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int | None,
        num_layers: int,
        growth_rate: int,
    ) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(in_channels, in_channels, 4, stride=2, padding=1)
        self.block = CompressedDenseBlock(
            in_channels + skip_channels, out_channels, num_layers, growth_rate
        )

    def forward(self, inputs: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Double the resolution.

        Args:
            inputs: Tensor of shape (N, in_channels, H // 2, W // 2).
            skip: Tensor of shape (N, skip_channels, H, W).

        Returns:
            Tensor of shape (N, out_channels, H, W).
        """
        enlarged = self.deconv(inputs, output_size=skip.shape[2:])
        return self.block(torch.cat([enlarged, skip], dim=1))
