"""A convolution with weights of its own at every place."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class LocallyConnected2d(nn.Module):
    """A convolution of stride 1 that shares no weights between places, as darknet's local layer.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        map_size: Height and width of input and output.
        kernel_size: Height and width of the kernels, odd.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        map_size: tuple[int, int],
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.map_size = tuple(map_size)
        self.kernel_size = kernel_size
        fan_in = in_channels * kernel_size**2
        # In the order of darknet's weights: place, output channel, input channel and kernel.
        self.weight = nn.Parameter(torch.empty(math.prod(map_size), out_channels, fan_in))
        self.bias = nn.Parameter(torch.zeros(out_channels, *map_size))
        nn.init.uniform_(self.weight, -math.sqrt(2 / fan_in), math.sqrt(2 / fan_in))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply the kernels, each at its place.

        Args:
            inputs: Tensor of shape (N, in_channels, H, W) with (H, W) = ``map_size``.

        Returns:
            Tensor of shape (N, out_channels, H, W).

        Raises:
            ValueError: If the map has another size.
        """
        if tuple(inputs.shape[-2:]) != self.map_size:
            raise ValueError(
                f'this locally connected layer has weights for maps of {self.map_size}, but the '
                f'map is {tuple(inputs.shape[-2:])}; resize the images to the size of the config'
            )
        patches = F.unfold(inputs, self.kernel_size, padding=self.kernel_size // 2)
        outputs = self.weight @ patches.permute(2, 1, 0)
        return outputs.permute(2, 1, 0).unflatten(2, self.map_size) + self.bias

    def extra_repr(self) -> str:
        """Describe the layer's shape."""
        return f'{self.in_channels}, {self.out_channels}, map_size={self.map_size}'
