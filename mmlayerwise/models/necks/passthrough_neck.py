"""The neck of YOLOv2."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.models.layers.reorg import Reorg
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class PassthroughNeck(BaseModule):
    """Two 3x3 convolutions on the coarse level; the fine level joins through a reorg layer.

    As in darknet's ``yolov2.cfg`` (https://arxiv.org/abs/1612.08242, section 2, fine-grained
    features): a 1x1 convolution narrows the finer level to 64 channels before it is taken apart.

    Args:
        in_channels: Channels of the finer and of the coarser level.
        out_channels: Channels of the convolutions on the coarser level.
        passthrough_channels: Channels to which the finer level is narrowed.
        norm_cfg: Config of the normalisation; batch normalisation by default.
        act_cfg: Config of the activation; leaky ReLU with slope 0.1 by default.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024),
        out_channels: int = 1024,
        passthrough_channels: int = 64,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = dict(
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1),
        )
        fine_channels, coarse_channels = in_channels
        self.coarse_convs = nn.Sequential(
            ConvModule(coarse_channels, out_channels, 3, padding=1, **layers),
            ConvModule(out_channels, out_channels, 3, padding=1, **layers),
        )
        self.passthrough_conv = ConvModule(fine_channels, passthrough_channels, 1, **layers)
        self.reorg = Reorg(stride=2)

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor]:
        """Join two levels.

        Args:
            features: Tensors of shape (N, C_fine, 2H, 2W) and (N, C_coarse, H, W).

        Returns:
            One tensor of shape (N, 4 * passthrough_channels + out_channels, H, W), the finer
            level's channels first.
        """
        fine, coarse = features
        return (
            torch.cat([self.reorg(self.passthrough_conv(fine)), self.coarse_convs(coarse)], dim=1),
        )
