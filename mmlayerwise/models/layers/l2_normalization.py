"""L2 normalisation of features, with a learned scale for each channel."""

import torch
import torch.nn.functional as F
from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class L2Normalization(nn.Module):
    """Divide the features of each location by their Euclidean norm; scale each channel.

    y_c = gamma_c x_c / ||x||_2, equations 1 to 3 of Liu, Rabinovich and Berg, "ParseNet: Looking
    Wider to See Better", arXiv 1506.04579. mmdet's ``L2Norm`` computes the same, but leaves its
    scale to the neck of the SSD to initialise, and is not there without mmdet.

    Args:
        channels: Channels of the input.
        scale: First value of gamma.
    """

    def __init__(self, channels: int, scale: float = 10.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalise.

        Args:
            inputs: Float tensor of shape (N, C, H, W).

        Returns:
            Float tensor of the same shape; zero where all features are.
        """
        # In float32, as squares of half precision overflow.
        normalized = F.normalize(inputs.float(), dim=1) * self.weight.float()[:, None, None]
        return normalized.to(inputs.dtype)
