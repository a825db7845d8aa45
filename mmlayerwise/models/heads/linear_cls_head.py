"""One fully connected layer as classification head."""

from collections.abc import Sequence

import torch
from torch import nn

from mmlayerwise.models.heads.cls_head import CROSS_ENTROPY, ClsHead
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class LinearClsHead(ClsHead):
    """Logits by one fully connected layer.

    Args:
        num_classes: Number of classes.
        in_channels: Length of the feature vectors.
        dropout_rate: Probability of dropping a feature in training.
        loss: See :class:`~mmlayerwise.models.heads.cls_head.ClsHead`.
        loss_weight: Factor on the loss.
        in_index: Which of the given feature maps to use.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        dropout_rate: float = 0.0,
        loss: dict = CROSS_ENTROPY,
        loss_weight: float = 1.0,
        in_index: int = -1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = {'type': 'Normal', 'layer': 'Linear', 'std': 0.01}
        super().__init__(num_classes, loss, loss_weight, in_index, init_cfg)
        self.dropout = nn.Dropout(dropout_rate)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute logits.

        Args:
            features: Tensors, the chosen one of shape (N, in_channels) or (N, C, H, W) with
                C * H * W = in_channels.

        Returns:
            Float tensor of shape (N, num_classes).
        """
        return self.fc(self.dropout(features[self.in_index].flatten(1)))
