"""The focal loss of maps with one score a pixel."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class BinaryFocalLoss(nn.Module):
    """``-alpha_t (1 - p_t)^gamma log p_t``, averaged over the pixels that have a label.

    p_t is the probability of a pixel's own label; alpha_t is alpha for label 1 and 1 - alpha for 0.
    Lin et al., "Focal Loss for Dense Object Detection", arXiv 1708.02002, equation 5. mmseg's
    ``FocalLoss`` takes one score a class, and compiled operators on a GPU.

    Args:
        gamma: How strongly pixels that are right already are left out.
        alpha: Weight of label 1 against label 0; None weighs both by 1.
        loss_weight: Factor.
        loss_name: Key of the loss; with the prefix ``loss_`` it is minimised.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.25,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self, logits: torch.Tensor, labels: torch.Tensor, ignore_index: int = 255, **_: Any
    ) -> torch.Tensor:
        """Compute the loss.

        Args:
            logits: Float tensor of shape (N, 1, H, W).
            labels: Integer tensor of shape (N, H, W) with 0, 1 and ``ignore_index``.
            ignore_index: Label of pixels to leave out.

        Returns:
            Scalar; 0 where no pixel has a label.
        """
        labelled = labels != ignore_index
        targets = torch.where(labelled, labels, 0).to(logits.dtype)
        surprise = F.binary_cross_entropy_with_logits(logits[:, 0], targets, reduction='none')
        losses = (1 - torch.exp(-surprise)) ** self.gamma * surprise
        if self.alpha is not None:
            losses = losses * (self.alpha * targets + (1 - self.alpha) * (1 - targets))
        return self.loss_weight * (losses * labelled).sum() / labelled.sum().clamp(min=1)
