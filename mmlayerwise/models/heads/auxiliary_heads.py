"""The classifiers inside GoogLeNet and Inception-v3 that help their training."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmlayerwise.models.heads.cls_head import CROSS_ENTROPY, ClsHead
from mmlayerwise.registry import MODELS

BATCH_NORM = {'type': 'BN', 'eps': 1e-3}


@MODELS.register_module()
class GoogLeNetAuxiliaryHead(ClsHead):
    """Auxiliary classifier of GoogLeNet (Szegedy et al., 2015, section 5).

    Average pooling of 5x5 with stride 3, which makes 4x4 of the 14x14 features of a 224x224 image
    (other sizes are averaged to 4x4), a 1x1 convolution to 128 channels, 1024 hidden units and 70 %
    dropout.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the feature map: 512 for block 4a, 528 for 4d.
        dropout_rate: Probability of dropping a hidden unit in training.
        norm_cfg: Normalisation of the convolution; None as in the paper.
        loss: See :class:`~mmlayerwise.models.heads.cls_head.ClsHead`.
        loss_weight: Factor on the loss, 0.3 in the paper.
        in_index: Which of the backbone's feature maps to use.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        dropout_rate: float = 0.7,
        norm_cfg: dict | None = BATCH_NORM,
        loss: dict = CROSS_ENTROPY,
        loss_weight: float = 0.3,
        in_index: int = 0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = {'type': 'Kaiming', 'layer': ['Conv2d', 'Linear']}
        super().__init__(num_classes, loss, loss_weight, in_index, init_cfg)
        self.pool = nn.Sequential(nn.AvgPool2d(5, stride=3), nn.AdaptiveAvgPool2d(4))
        self.conv = ConvModule(in_channels, 128, 1, norm_cfg=norm_cfg)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout_rate)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute logits.

        Args:
            features: Tensors, the chosen one of shape (N, in_channels, H, W) with H, W >= 5.

        Returns:
            Float tensor of shape (N, num_classes).
        """
        hidden = self.conv(self.pool(features[self.in_index])).flatten(1)
        return self.fc2(self.dropout(self.relu(self.fc1(hidden))))


@MODELS.register_module()
class InceptionV3AuxiliaryHead(ClsHead):
    """Auxiliary classifier of Inception-v3 (Szegedy et al., 2016, section 4), on 17x17 features.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the feature map.
        loss: See :class:`~mmlayerwise.models.heads.cls_head.ClsHead`.
        loss_weight: Factor on the loss, 0.4 in the released training code.
        in_index: Which of the backbone's feature maps to use.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 768,
        loss: dict = CROSS_ENTROPY,
        loss_weight: float = 0.4,
        in_index: int = 0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [
                {'type': 'Kaiming', 'layer': 'Conv2d'},
                {'type': 'Normal', 'layer': 'Linear', 'std': 0.001},
            ]
        super().__init__(num_classes, loss, loss_weight, in_index, init_cfg)
        self.layers = nn.Sequential(
            nn.AvgPool2d(5, stride=3),
            ConvModule(in_channels, 128, 1, norm_cfg=BATCH_NORM),
            ConvModule(128, 768, 5, norm_cfg=BATCH_NORM),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.fc = nn.Linear(768, num_classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute logits.

        Args:
            features: Tensors, the chosen one of shape (N, in_channels, H, W) with H, W >= 17.

        Returns:
            Float tensor of shape (N, num_classes).
        """
        return self.fc(self.layers(features[self.in_index]))
