"""Blocks of RefineNet: residual units, fusion of two resolutions, chained residual pooling."""

import torch
from torch import nn
from torch.nn.functional import interpolate, max_pool2d, relu


def _conv3x3(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)


class ResidualConvUnit(nn.Module):
    """``x + conv(relu(conv(relu(x))))`` with 3x3 convolutions: Lin et al. (2017), figure 3B.

    As in the released networks the first convolution has a bias and the second has none.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv3x3(channels, channels, bias=True)
        self.second = _conv3x3(channels, channels)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Add the residual.

        Args:
            inputs: Tensor of shape (N, channels, H, W).

        Returns:
            Tensor of the same shape.
        """
        return inputs + self.second(relu(self.first(relu(inputs))))


class ChainedResidualPooling(nn.Module):
    """Context of growing windows: Lin et al. (2017), figure 3D.

    A rectified map is pooled and convolved, the result is pooled and convolved again, and so on;
    the output is the sum of them all.

    Args:
        channels: Channels of input and output.
        num_poolings: Length of the chain.
        kernel_size: Size of the max pooling windows, odd; their stride is 1.
    """

    def __init__(self, channels: int, num_poolings: int = 4, kernel_size: int = 5) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.convs = nn.ModuleList(_conv3x3(channels, channels) for _ in range(num_poolings))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Sum the chain.

        Args:
            inputs: Tensor of shape (N, channels, H, W).

        Returns:
            Tensor of the same shape.
        """
        total = pooled = relu(inputs)
        for conv in self.convs:
            pooled = conv(max_pool2d(pooled, self.kernel_size, 1, self.kernel_size // 2))
            total = total + pooled
        return total


class RefineNetBlock(nn.Module):
    """One stage of the cascade: Lin et al. (2017), figure 3.

    A map of the trunk is reduced and adapted by two residual units, fused with the coarser stage's
    output, pooled in a chain and refined by three residual units. Of these, one belongs to the
    paper's block and two to the input of the next, which come to the same; in the last block all
    three are its own.

    Args:
        in_channels: Channels of the trunk's map.
        channels: Channels of the block.
        coarse_channels: Channels of the coarser stage's output; None for the coarsest stage.
        num_poolings: Length of the chain of poolings.
        align_corners: That of the bilinear interpolation.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        coarse_channels: int | None = None,
        num_poolings: int = 4,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.reduce = _conv3x3(in_channels, channels)
        self.adapt = _units(channels, 2)
        if coarse_channels is not None:
            self.fuse_fine = _conv3x3(channels, channels)
            self.fuse_coarse = _conv3x3(coarse_channels, channels)
        self.pooling = ChainedResidualPooling(channels, num_poolings)
        self.refine = _units(channels, 3)

    def forward(self, features: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        """Refine.

        Args:
            features: Map of the trunk, of shape (N, in_channels, H, W).
            coarse: Output of the coarser stage, of shape (N, coarse_channels, h, w).

        Returns:
            Tensor of shape (N, channels, H, W).
        """
        refined = self.adapt(self.reduce(features))
        if coarse is not None:
            enlarged = interpolate(
                self.fuse_coarse(coarse),
                features.shape[-2:],
                mode='bilinear',
                align_corners=self.align_corners,
            )
            refined = self.fuse_fine(refined) + enlarged
        return self.refine(self.pooling(refined))


def _units(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualConvUnit(channels) for _ in range(count)))
