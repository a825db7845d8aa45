"""Space to depth in darknet's order of channels."""

import torch
from torch import nn


class Reorg(nn.Module):
    """Turn every stride x stride block of places into channels, as darknet's reorg layer does.

    Darknet reads the input's memory as if it had fewer channels of a larger size before it takes
    the blocks apart, so that the result is no mere permutation of channels of
    ``torch.nn.PixelUnshuffle``; released weights need this very order.

    Args:
        stride: Height and width of the blocks.
    """

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Reorganise a feature map.

        Args:
            inputs: Tensor of shape (N, C, H, W); the square of the stride divides C, the stride
                divides H and W.

        Returns:
            Tensor of shape (N, C * stride ** 2, H / stride, W / stride).

        Raises:
            ValueError: If the shape is not divisible.
        """
        batch, channels, height, width = inputs.shape
        stride = self.stride
        if channels % stride**2 or height % stride or width % stride:
            raise ValueError(
                f'reorg with stride {stride} needs channels divisible by {stride**2}, height and '
                f'width by {stride}, but the shape is {tuple(inputs.shape)}; pad the images to a '
                "multiple of the network's stride"
            )
        blocks = inputs.reshape(batch, channels // stride**2, height, stride, width, stride)
        reordered = blocks.permute(0, 3, 5, 1, 2, 4)
        return reordered.reshape(batch, channels * stride**2, height // stride, width // stride)
