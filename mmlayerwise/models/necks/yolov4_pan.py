"""The neck of YOLOv4."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.backbones.csp_darknet import SPPBottleneck
from mmdet.models.necks.yolo_neck import DetectionBlock
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.registry import MODELS


class _DarknetSPP(SPPBottleneck):
    """Pooling of several sizes, joined in darknet's order: the largest first, the input last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([*[pool(x) for pool in self.poolings], x], 1))


@MODELS.register_module()
class YOLOv4PAN(BaseModule):
    """Spatial pyramid pooling and a path aggregation network that joins by concatenation.

    Bochkovskiy et al., 2020 (https://arxiv.org/abs/2004.10934), section 3.4; layers as in
    darknet's ``yolov4.cfg``.

    Args:
        in_channels: Channels of each level, finest first, each twice those before.
        kernel_sizes: Kernel sizes of the poolings on the coarsest level.
        norm_cfg: Config of the normalisation; batch normalisation by default.
        act_cfg: Config of the activation; leaky ReLU with slope 0.1 by default.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024),
        kernel_sizes: Sequence[int] = (5, 9, 13),
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            init_cfg or dict(type='Kaiming', layer='Conv2d', a=0.1, nonlinearity='leaky_relu')
        )
        layers = dict(
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1),
        )
        coarse_first = list(in_channels)[::-1]
        widths = [channels // 2 for channels in coarse_first]
        self.spp_block = DetectionBlock(coarse_first[0], widths[0], **layers)
        # Its first convolution is the block's third one.
        self.spp_block.conv3 = _DarknetSPP(
            coarse_first[0],
            widths[0],
            kernel_sizes=sorted(kernel_sizes, reverse=True),
            **layers,
        )
        self.up_convs = nn.ModuleList()
        self.lateral_convs = nn.ModuleList()
        self.top_down_blocks = nn.ModuleList()
        for above, channels, width in zip(widths[:-1], coarse_first[1:], widths[1:], strict=True):
            self.up_convs.append(ConvModule(above, width, 1, **layers))
            self.lateral_convs.append(ConvModule(channels, width, 1, **layers))
            self.top_down_blocks.append(DetectionBlock(2 * width, width, **layers))
        self.down_convs = nn.ModuleList()
        self.bottom_up_blocks = nn.ModuleList()
        fine_first = widths[::-1]
        for below, width in pairwise(fine_first):
            self.down_convs.append(ConvModule(below, width, 3, stride=2, padding=1, **layers))
            self.bottom_up_blocks.append(DetectionBlock(2 * width, width, **layers))

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Pass information down to the finest level and up again.

        Args:
            features: One tensor of shape (N, C_i, H_i, W_i) a level, finest first.

        Returns:
            One tensor of shape (N, C_i / 2, H_i, W_i) a level, coarsest first.
        """
        levels = [self.spp_block(features[-1])]
        for up, lateral, block, feature in zip(
            self.up_convs, self.lateral_convs, self.top_down_blocks, features[-2::-1], strict=True
        ):
            enlarged = F.interpolate(up(levels[-1]), size=feature.shape[-2:], mode='nearest')
            levels.append(block(torch.cat([lateral(feature), enlarged], 1)))
        outputs = [levels.pop()]
        for down, block in zip(self.down_convs, self.bottom_up_blocks, strict=True):
            outputs.append(block(torch.cat([down(outputs[-1]), levels.pop()], 1)))
        return tuple(outputs[::-1])
