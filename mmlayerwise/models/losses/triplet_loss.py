"""Triplet losses of layer-wise forward learning.

They take triplets that were found already, each sample with its nearest friend and nearest enemy.
Distances are squared Euclidean ones, as in Karimi et al., *Forward layer-wise learning of
convolutional neural networks through separation index maximizing*, Scientific Reports 14, 2024.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mmlayerwise.registry import MODELS


class TripletLoss(nn.Module):
    """Base of the triplet losses.

    Args:
        normalize: Whether features are brought to unit length before distances are taken.
        loss_weight: Factor of the loss.

    Attributes:
        bounded: Whether features of unnormalised layers cannot lower the loss by growing alone.
    """

    bounded = True

    def __init__(self, normalize: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.normalize = normalize
        self.loss_weight = loss_weight

    def embed(self, features: Tensor) -> Tensor:
        """Bring features into the space in which distances are taken.

        Args:
            features: Float of shape (num_samples, dimension).
        """
        # Vectors shorter than eps, all of a dead layer's, stay short instead of exploding.
        return F.normalize(features, eps=1e-6) if self.normalize else features

    def forward(self, anchors: Tensor, friends: Tensor, enemies: Tensor) -> Tensor:
        """Mean loss of triplets.

        Args:
            anchors: Embedded features of shape (num_triplets, dimension).
            friends: Of the same shape.
            enemies: Of the same shape.

        Returns:
            Scalar; 0 without triplets.
        """
        near = (anchors - friends).square().sum(1)
        far = (anchors - enemies).square().sum(1)
        losses = self.of_distances(near, far)
        return self.loss_weight * losses.sum() / max(1, len(losses))

    def of_distances(self, near: Tensor, far: Tensor) -> Tensor:
        """Loss of every triplet from its squared distances to friend and enemy."""
        raise NotImplementedError


@MODELS.register_module()
class RawTripletLoss(TripletLoss):
    """The mean of ``near - far``, as in the paper.

    It is not bounded below: features that are not normalised lower it by growing alone.

    Args:
        normalize: Whether features are brought to unit length; False as in the paper.
        loss_weight: Factor of the loss.
    """

    bounded = False

    def __init__(self, normalize: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__(normalize, loss_weight)

    def of_distances(self, near: Tensor, far: Tensor) -> Tensor:  # noqa: D102
        return near - far


@MODELS.register_module()
class HingeTripletLoss(TripletLoss):
    """The mean of ``max(0, margin + near - far)`` (Schroff et al., FaceNet, arXiv 1503.03832).

    Args:
        margin: How much farther the enemy has to be.
        normalize: Whether features are brought to unit length.
        loss_weight: Factor of the loss.
    """

    def __init__(
        self, margin: float = 0.2, normalize: bool = True, loss_weight: float = 1.0
    ) -> None:
        super().__init__(normalize, loss_weight)
        self.margin = margin

    def of_distances(self, near: Tensor, far: Tensor) -> Tensor:  # noqa: D102
        return F.relu(self.margin + near - far)


@MODELS.register_module()
class SoftTripletLoss(TripletLoss):
    """The mean of ``log(1 + exp(near - far))`` (Hermans et al., arXiv 1703.07737).

    Args:
        normalize: Whether features are brought to unit length.
        loss_weight: Factor of the loss.
    """

    def of_distances(self, near: Tensor, far: Tensor) -> Tensor:  # noqa: D102
        return F.softplus(near - far)
