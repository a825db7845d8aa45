"""Average pooling to one vector an image."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class AdaptiveAveragePooling(BaseModule):
    """Average every feature map over a fixed grid, whatever its size, and flatten it.

    Between the convolutions and the fully connected layers of AlexNet (6) and VGG (7) it admits
    images of any size; at their own input size it changes nothing.

    Args:
        output_size: Rows and columns of the grid; of a text the number of its parts.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(self, output_size: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.pool = nn.AdaptiveAvgPool2d(output_size)

    def forward(self, features: Sequence[torch.Tensor] | torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pool every feature map.

        Args:
            features: Tensors of shape (N, C_i, H_i, W_i), or one such tensor; of texts (N, C_i,
                L_i).

        Returns:
            Tensors of shape (N, C_i * output_size ** 2); of texts (N, C_i * output_size).
        """
        if isinstance(features, torch.Tensor):
            features = (features,)
        return tuple(self._pooled(feature).flatten(1) for feature in features)

    def _pooled(self, feature: torch.Tensor) -> torch.Tensor:
        if feature.ndim == 3:
            return F.adaptive_avg_pool1d(feature, self.pool.output_size)
        return self.pool(feature)


@MODELS.register_module()
class GlobalAveragePooling(AdaptiveAveragePooling):
    """Average every channel over the whole feature map (Lin et al., Network in Network, 2014).

    Args:
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(output_size=1, init_cfg=init_cfg)
