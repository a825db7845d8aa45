"""Branches side by side."""

import torch
from torch import nn


class Parallel(nn.ModuleDict):
    """Apply every branch to the same input and concatenate their channels."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the branches in the order of their names' insertion.

        Args:
            inputs: Tensor of shape (N, C, H, W).

        Returns:
            Tensor of shape (N, C_1 + ... + C_B, H', W').
        """
        return torch.cat([branch(inputs) for branch in self.values()], dim=1)
