"""An anchor-based head with separate branches for classes and boxes."""

import math
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.model import bias_init_with_prob
from torch import nn

from mmlayerwise.models.dense_heads.yolov3_iou_head import YOLOV3IoUHead
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class YOLOV3DecoupledHead(YOLOV3IoUHead):
    """The second step of the YOLOX paper's road map: YOLOv3's anchors, a decoupled head.

    Each level has two branches of 3x3 convolutions, one before the class scores and one before
    boxes and objectness (https://arxiv.org/abs/2107.08430, figure 2). The 1x1 stem that brings
    every level to the same width is left to the neck.

    Args:
        num_classes: Number of classes without background.
        in_channels: Channels of each level, coarsest first.
        feat_channels: Width of the branches.
        stacked_convs: Convolutions in each branch.
        kwargs: As for :class:`YOLOV3IoUHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: list[int],
        feat_channels: int = 256,
        stacked_convs: int = 2,
        **kwargs: Any,
    ) -> None:
        self.feat_channels = feat_channels
        self.stacked_convs = stacked_convs
        super().__init__(
            num_classes, in_channels, out_channels=[feat_channels] * len(in_channels), **kwargs
        )
        self.init_cfg = dict(
            type='Kaiming',
            layer='Conv2d',
            a=math.sqrt(5),
            distribution='uniform',
            mode='fan_in',
            nonlinearity='leaky_relu',
        )

    def _init_layers(self) -> None:
        self.cls_convs = nn.ModuleList(map(self._branch, self.in_channels))
        self.reg_convs = nn.ModuleList(map(self._branch, self.in_channels))
        outputs = dict(conv_cls=self.num_classes, conv_reg=4, conv_obj=1)
        for name, channels in outputs.items():
            convs = [
                nn.Conv2d(self.feat_channels, self.num_base_priors * channels, 1)
                for _ in self.in_channels
            ]
            setattr(self, name, nn.ModuleList(convs))

    def _branch(self, in_channels: int) -> nn.Sequential:
        widths = [in_channels] + [self.feat_channels] * self.stacked_convs
        return nn.Sequential(
            *[
                ConvModule(
                    widths[i],
                    widths[i + 1],
                    3,
                    padding=1,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    act_cfg=self.act_cfg,
                )
                for i in range(self.stacked_convs)
            ]
        )

    def init_weights(self) -> None:
        """Initialise as YOLOX does: classes and objectness start out unlikely."""
        # YOLOv3's own initialisation looks for the convolutions of its coupled head.
        BaseDenseHead.init_weights(self)
        for conv in (*self.conv_cls, *self.conv_obj):
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward(self, x: tuple[torch.Tensor, ...]) -> tuple[tuple[torch.Tensor, ...]]:
        """Predict every level.

        Args:
            x: Features of each level, coarsest first.

        Returns:
            One tuple of maps of shape (N, anchors * (5 + classes), H, W), in mmdet's order: x, y,
            w, h, objectness and classes of the first anchor, then of the next.
        """
        return (tuple(self._forward_level(level, feature) for level, feature in enumerate(x)),)

    def _forward_level(self, level: int, feature: torch.Tensor) -> torch.Tensor:
        cls_feature = self.cls_convs[level](feature)
        reg_feature = self.reg_convs[level](feature)
        outputs = (
            self.conv_reg[level](reg_feature),
            self.conv_obj[level](reg_feature),
            self.conv_cls[level](cls_feature),
        )
        by_anchor = [output.unflatten(1, (self.num_base_priors, -1)) for output in outputs]
        return torch.cat(by_anchor, 2).flatten(1, 2)
