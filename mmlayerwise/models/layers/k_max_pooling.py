"""Pooling that keeps the largest values of a sequence in their order."""

import torch
from torch import nn

from mmlayerwise.utils.errors import UserError


def k_max_pool(features: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest values of every channel, in the order in which they stand.

    Kalchbrenner et al., A Convolutional Neural Network for Modelling Sentences, 2014
    (https://arxiv.org/abs/1404.2188), section 3.4. Of equal values the earlier ones are kept.

    Args:
        features: Tensor of shape (N, C, L).
        k: How many, at most L.

    Returns:
        Tensor of shape (N, C, k).

    Raises:
        UserError: If the sequence is shorter than k.
    """
    if features.ndim != 3 or features.shape[2] < k:
        raise UserError(
            f'{k}-max pooling takes features of shape (N, C, L) with L >= {k}, but got '
            f'{tuple(features.shape)}; give longer texts (length of QuantizeCharacters) or a '
            'smaller k'
        )
    # topk leaves open which of equal values it takes, and after a ReLU there are many zeros.
    order = features.detach().sort(dim=2, descending=True, stable=True).indices
    return features.gather(2, order[..., :k].sort(dim=2).values)


class HalvingKMaxPooling(nn.Module):
    """K-max pooling with half the length as k, rounded up."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Halve the length.

        Args:
            features: Tensor of shape (N, C, L).

        Returns:
            Tensor of shape (N, C, (L + 1) // 2).
        """
        return k_max_pool(features, (features.shape[2] + 1) // 2)
