"""K-max pooling to one vector a text."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule

from mmlayerwise.models.layers.k_max_pooling import k_max_pool
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class KMaxPooling(BaseModule):
    """Keep the k largest values of every channel in their order, and flatten them.

    Between the convolutions and the fully connected layers of VD-CNN it admits texts of any length
    (Conneau et al., 2017, https://arxiv.org/abs/1606.01781, section 3).

    Args:
        k: Number of values a channel.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(self, k: int = 8, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.k = k

    def forward(self, features: Sequence[torch.Tensor] | torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pool every feature map.

        Args:
            features: Tensors of shape (N, C_i, L_i) with L_i >= k, or one such tensor.

        Returns:
            Tensors of shape (N, C_i * k), the values of a channel together.
        """
        if isinstance(features, torch.Tensor):
            features = (features,)
        return tuple(k_max_pool(feature, self.k).flatten(1) for feature in features)

    def extra_repr(self) -> str:
        """The arguments, for ``print``."""
        return f'k={self.k}'
