"""Large kernels by pairs of thin ones, and refinement of boundaries."""

import torch
from torch import nn


class GlobalConvolution(nn.Module):
    """A convolution with a large kernel as two pairs of thin ones.

    Peng et al., Large kernel matters (2017), figure 2B: a k x 1 and a 1 x k convolution, the same
    in the other order, and their sum, without a non-linearity.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels between the thin convolutions and of the output.
        kernel_size: k, odd.

    Raises:
        ValueError: If the kernel size is even.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, but is {kernel_size}')
        tall, wide = (kernel_size, 1), (1, kernel_size)
        self.vertical_first = self._pair(in_channels, out_channels, tall, wide)
        self.horizontal_first = self._pair(in_channels, out_channels, wide, tall)

    @staticmethod
    def _pair(
        in_channels: int, out_channels: int, first: tuple[int, int], second: tuple[int, int]
    ) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, first, padding=(first[0] // 2, first[1] // 2)),
            nn.Conv2d(out_channels, out_channels, second, padding=(second[0] // 2, second[1] // 2)),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Convolve.

        Args:
            inputs: Tensor of shape (N, in_channels, H, W).

        Returns:
            Tensor of shape (N, out_channels, H, W).
        """
        return self.vertical_first(inputs) + self.horizontal_first(inputs)


class BoundaryRefinement(nn.Module):
    """``x + conv(relu(conv(x)))`` with 3x3 convolutions: Peng et al. (2017), figure 2C.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Refine score maps.

        Args:
            inputs: Tensor of shape (N, channels, H, W).

        Returns:
            Tensor of the same shape.
        """
        return inputs + self.residual(inputs)
