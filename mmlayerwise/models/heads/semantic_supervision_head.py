"""Classifier on an early stage, which asks for semantics there."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmlayerwise.models.heads.cls_head import CROSS_ENTROPY, ClsHead
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class SemanticSupervisionHead(ClsHead):
    """Two 3x3 convolutions, global average and classifier.

    One of them on each early stage while a backbone is pretrained makes fine maps more useful for
    segmentation; afterwards they are removed. Zhang et al., "ExFuse: Enhancing Feature Fusion for
    Semantic Segmentation", arXiv 1804.03821, section 3.2.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the feature map.
        channels: Channels of the convolutions.
        norm_cfg: Normalisation of the convolutions; batch normalisation by default.
        loss: See :class:`~mmlayerwise.models.heads.cls_head.ClsHead`.
        loss_weight: Factor on the loss.
        in_index: Which of the backbone's feature maps to use.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        channels: int = 512,
        norm_cfg: dict | None = None,
        loss: dict = CROSS_ENTROPY,
        loss_weight: float = 0.3,
        in_index: int = 0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = {'type': 'Kaiming', 'layer': ['Conv2d', 'Linear']}
        super().__init__(num_classes, loss, loss_weight, in_index, init_cfg)
        norm_cfg = norm_cfg or {'type': 'BN'}
        self.layers = nn.Sequential(
            ConvModule(in_channels, channels, 3, padding=1, norm_cfg=norm_cfg),
            ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute logits.

        Args:
            features: Tensors, the chosen one of shape (N, in_channels, H, W).

        Returns:
            Float tensor of shape (N, num_classes).
        """
        return self.fc(self.layers(features[self.in_index]))
