"""Max-pooling that remembers, and the unpooling that puts values back where they came from."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class PoolingSwitches:
    """Where the maxima of a pooling stood.

    Attributes:
        indices: Of each maximum within its map, int64 tensor of shape (N, C, h, w).
        size: (height, width) of the pooled map, which for odd numbers (h, w) don't tell.
    """

    indices: torch.Tensor
    size: tuple[int, int]


class MaxUnpool(nn.Module):
    """Put each value where the maximum of its 2x2 window stood, and zeros elsewhere.

    Zeiler, Taylor and Fergus, "Adaptive deconvolutional networks for mid and high level feature
    learning", 2011. Unlike :class:`torch.nn.MaxUnpool2d` it restores odd sizes.
    """

    def forward(self, inputs: torch.Tensor, switches: PoolingSwitches) -> torch.Tensor:
        """Unpool.

        Args:
            inputs: Float tensor of shape (N, C, h, w).
            switches: What the pooling remembered, of the same shape.

        Returns:
            Float tensor of shape (N, C, H, W), with (H, W) the size before the pooling.
        """
        return F.max_unpool2d(inputs, switches.indices, 2, 2, output_size=switches.size)
