"""Nearest friends and enemies within a mini-batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.forward.errors import ForwardLearningError


@dataclass(frozen=True)
class MinedTriplets:
    """Anchors of a batch, each with its nearest friend and its nearest enemy.

    Attributes:
        anchors: Float of shape (num_triplets, dimension).
        friends: Of the same shape: the nearest samples with the anchors' labels.
        enemies: Of the same shape: the nearest samples with other labels.
        separation_index: Share of anchors whose friend is nearer than their enemy; 0 without
            anchors.
    """

    anchors: Tensor
    friends: Tensor
    enemies: Tensor
    separation_index: float

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def relative_distance(self) -> float:
        """Mean squared distance to friends and enemies in units of the mean squared length.

        It falls to 0 when all features become alike.
        """
        anchors = self.anchors.detach()
        length = float(anchors.square().sum(1).mean()) if len(self) else 0.0
        if not length:
            return 0.0
        others = torch.stack([self.friends.detach(), self.enemies.detach()])
        return float((others - anchors).square().sum(2).mean()) / length


class NearestTripletMiner:
    """Finds for every sample the nearest one of its label and the nearest one of another label.

    This is step ``i_p, i_n`` of layer-wise forward learning (Karimi et al., Scientific Reports 14,
    2024), by Euclidean distance. Samples without a friend or an enemy are no anchors.

    Args:
        memory_size: How many samples of earlier batches to search besides those of the batch. They
            are as the layer gave them then, and give no gradient.
    """

    def __init__(self, memory_size: int = 0) -> None:
        if memory_size < 0:
            raise ForwardLearningError(
                f'NearestTripletMiner: memory_size must not be negative, got {memory_size}.'
            )
        self.memory_size = memory_size
        self.reset()

    def reset(self) -> None:
        """Forget earlier batches."""
        self._memory: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, features: Tensor, labels: Tensor, images: Tensor | None = None
    ) -> MinedTriplets:
        """Mine a batch.

        Args:
            features: Float of shape (num_samples, dimension).
            labels: int64 of shape (num_samples,).
            images: int64 of shape (num_samples,): samples of one image are no neighbours of each
                other. None where every sample is an image of its own.

        Returns:
            The triplets, through which gradients flow.
        """
        references, reference_labels = features, labels
        if self._memory is not None and self._memory[0].shape[1:] == features.shape[1:]:
            references = torch.cat([features, self._memory[0]])
            reference_labels = torch.cat([labels, self._memory[1]])
        with torch.no_grad():
            distances = torch.cdist(features, references)
            if images is None:
                apart = ~torch.eye(len(features), dtype=torch.bool, device=labels.device)
            else:
                apart = images[:, None] != images
            remembered = len(references) - len(features)
            apart = torch.nn.functional.pad(apart, (0, remembered), value=True)
            same = labels[:, None] == reference_labels
            near, friends = _nearest(distances, same & apart)
            far, enemies = _nearest(distances, ~same & apart)
            found = (near.isfinite() & far.isfinite()).nonzero()[:, 0]
            separated = int((near < far)[found].sum()) / max(1, len(found))
        self._remember(features, labels)
        return MinedTriplets(
            features[found], references[friends[found]], references[enemies[found]], separated
        )

    def _remember(self, features: Tensor, labels: Tensor) -> None:
        if not self.memory_size:
            return
        features = features.detach()
        if self._memory is not None and self._memory[0].shape[1:] == features.shape[1:]:
            features = torch.cat([features, self._memory[0]])
            labels = torch.cat([labels, self._memory[1]])
        self._memory = features[: self.memory_size].clone(), labels[: self.memory_size].clone()


def _nearest(distances: Tensor, admitted: Tensor) -> tuple[Tensor, Tensor]:
    if not distances.shape[1]:
        empty = distances.new_zeros(len(distances))
        return empty + torch.inf, empty.long()
    return distances.masked_fill(~admitted, torch.inf).min(1)
