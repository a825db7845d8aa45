"""Several fully connected layers as classification head."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mmlayerwise.models.heads.cls_head import CROSS_ENTROPY, ClsHead
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class StackedLinearClsHead(ClsHead):
    """Logits by fully connected layers with ReLU between, as AlexNet and VGG have them.

    Args:
        num_classes: Number of classes.
        in_channels: Length of the feature vectors.
        mid_channels: Widths of the hidden layers.
        dropout_rate: Probability of dropping a value in training; applied to the input of every
            layer but the last, as in AlexNet, or with ``dropout_after`` to the hidden activations,
            as in VGG.
        dropout_after: Where the dropout goes.
        loss: See :class:`~mmlayerwise.models.heads.cls_head.ClsHead`.
        loss_weight: Factor on the loss.
        in_index: Which of the given feature maps to use.
        init_cfg: Initialisation config of mmengine; by default normal, standard deviation 0.01, as
            in both papers.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        mid_channels: Sequence[int],
        dropout_rate: float = 0.0,
        dropout_after: bool = True,
        loss: dict = CROSS_ENTROPY,
        loss_weight: float = 1.0,
        in_index: int = -1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = {'type': 'Normal', 'layer': 'Linear', 'std': 0.01}
        super().__init__(num_classes, loss, loss_weight, in_index, init_cfg)
        widths = [in_channels, *mid_channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            hidden = [nn.Linear(before, after), nn.ReLU(inplace=True)]
            drop = nn.Dropout(dropout_rate)
            layers.append(
                nn.Sequential(*hidden, drop) if dropout_after else nn.Sequential(drop, *hidden)
            )
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute logits.

        Args:
            features: Tensors, the chosen one of shape (N, in_channels) or (N, C, H, W) with
                C * H * W = in_channels.

        Returns:
            Float tensor of shape (N, num_classes).
        """
        return self.fc(self.layers(features[self.in_index].flatten(1)))
