"""The head of EfficientDet."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmdet.models.dense_heads import AnchorHead
from mmengine.model import bias_init_with_prob
from torch import nn

from mmlayerwise.models.layers.separable_conv import SeparableConv2d
from mmlayerwise.registry import MODELS


class SharedConvBranch(nn.Module):
    """Separable convolutions that the levels share, with normalisations of each level.

    Args:
        num_levels: Levels of the pyramid.
        channels: Channels of the input.
        out_channels: Channels of the output.
        num_convs: Convolutions before the one of the output.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
    """

    def __init__(
        self,
        num_levels: int,
        channels: int,
        out_channels: int,
        num_convs: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(SeparableConv2d(channels, channels) for _ in range(num_convs))
        self.norms = nn.ModuleList(
            nn.ModuleList(build_norm_layer(norm_cfg, channels)[1] for _ in range(num_convs))
            for _ in range(num_levels)
        )
        self.activate = build_activation_layer(act_cfg)
        self.predict = SeparableConv2d(channels, out_channels)

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Predict on every level.

        Args:
            features: One map of shape (N, C, H_i, W_i) a level.

        Returns:
            One map of shape (N, out_channels, H_i, W_i) a level.
        """
        outputs = []
        for feature, norms in zip(features, self.norms, strict=True):
            for conv, norm in zip(self.convs, norms, strict=True):
                feature = self.activate(norm(conv(feature)))
            outputs.append(self.predict(feature))
        return outputs


@MODELS.register_module()
class EfficientDetSepBNHead(AnchorHead):
    """Class and box branches of separable convolutions.

    Tan, Pang and Le, 2020 (https://arxiv.org/abs/1911.09070); the levels share the convolutions
    and have normalisations of their own. The box loss is a mean over the coordinates of positive
    anchors, as in the authors' code, and not a sum over them as in other anchor heads.

    Args:
        num_classes: Number of classes.
        num_ins: Levels of the pyramid.
        in_channels: Channels of every level, and of the branches.
        stacked_convs: Convolutions of a branch before the one of its output.
        norm_cfg: Config of the normalisation; batch normalisation by default.
        act_cfg: Config of the activation; swish by default.
        init_cfg: Initialisation config of mmengine; by default variances are 1 / fan-in.
        kwargs: As for mmdet's ``AnchorHead``.
    """

    def __init__(
        self,
        num_classes: int,
        num_ins: int = 5,
        in_channels: int = 64,
        stacked_convs: int = 3,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        self.num_ins = num_ins
        self.stacked_convs = stacked_convs
        self.norm_cfg = norm_cfg or dict(type='BN', momentum=0.01, eps=1e-3)
        self.act_cfg = act_cfg or dict(type='Swish')
        super().__init__(
            num_classes,
            in_channels,
            feat_channels=in_channels,
            init_cfg=init_cfg
            or dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='linear'),
            **kwargs,
        )

    def _init_layers(self) -> None:
        self.cls_branch, self.reg_branch = (
            SharedConvBranch(
                self.num_ins,
                self.in_channels,
                self.num_base_priors * outputs,
                self.stacked_convs,
                self.norm_cfg,
                self.act_cfg,
            )
            for outputs in (self.cls_out_channels, self.bbox_coder.encode_size)
        )

    def init_weights(self) -> None:
        """Initialise the layers; every class starts with a probability of 0.01."""
        super().init_weights()
        nn.init.constant_(self.cls_branch.predict.pointwise.bias, bias_init_with_prob(0.01))

    def forward(self, x: tuple[torch.Tensor, ...]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Predict on every level.

        Args:
            x: One map of shape (N, in_channels, H_i, W_i) a level.

        Returns:
            Class logits of shape (N, A * num_classes, H_i, W_i) and box deltas of shape
            (N, A * 4, H_i, W_i), one of each a level.
        """
        return self.cls_branch(x), self.reg_branch(x)

    def loss_by_feat_single(
        self, *args: torch.Tensor, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the losses of one level; arguments as for mmdet's ``AnchorHead``."""
        loss_cls, loss_bbox = super().loss_by_feat_single(*args, **kwargs)
        return loss_cls, loss_bbox / self.bbox_coder.encode_size
