"""Head of the discriminative feature network."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.utils import ConfigType, SampleList, add_prefix
from torch import nn

from mmlayerwise.models.layers.discriminative_feature import (
    ChannelAttentionBlock,
    RefinementResidualBlock,
)
from mmlayerwise.models.layers.label_borders import label_borders
from mmlayerwise.registry import MODELS


class SmoothStage(BaseModule):
    """Refine the trunk's map, select its channels by the coarser stage, refine again.

    Args:
        in_channels: Channels of the trunk's map.
        channels: Channels of the coarser stage and of the output.
        norm_cfg: Normalisation.
    """

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.before = RefinementResidualBlock(in_channels, channels, norm_cfg)
        self.attention = ChannelAttentionBlock(channels)
        self.after = RefinementResidualBlock(channels, channels, norm_cfg)

    def forward(self, features: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Fuse two stages.

        Args:
            features: Tensor of shape (N, in_channels, H, W).
            coarse: Tensor of shape (N, channels, H, W).

        Returns:
            Tensor of shape (N, channels, H, W).
        """
        return self.after(self.attention(self.before(features), coarse))


@MODELS.register_module()
class DFNHead(BaseDecodeHead):
    """The smooth and the border network, both supervised at every stage.

    The smooth network goes from the global average down to the finest map of the trunk and makes
    the classes within an object alike; its finest scores are the prediction. The border network
    goes from the finest map up, predicts borders between classes and exists for training only.
    With 21 classes and ResNet's widths the head has 48,091,987 parameters.

    Yu, Wang, Peng, Gao, Yu and Sang, "Learning a Discriminative Feature Network for Semantic
    Segmentation", arXiv 1804.09337, section 3.

    Args:
        in_channels: Channels of the trunk's maps, the finest first.
        channels: Width of the smooth network.
        num_classes: Number of classes.
        border_channels: Width of the border network.
        border_width: Width of the borders made from labels, in pixels, odd.
        loss_border: Loss of the borders.
        norm_cfg: Normalisation.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        channels: int = 512,
        *,
        num_classes: int,
        border_channels: int = 21,
        border_width: int = 7,
        loss_border: dict | None = None,
        norm_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        defaults = dict(
            in_index=list(range(len(in_channels))),
            input_transform='multiple_select',
            dropout_ratio=0.0,
            init_cfg=dict(type='Kaiming', layer='Conv2d'),
        )
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            norm_cfg=norm_cfg,
            **{**defaults, **kwargs},
        )
        del self.conv_seg  # every stage has its own
        self.border_width = border_width
        self.loss_border = MODELS.build(
            loss_border or dict(type='BinaryFocalLoss', loss_weight=0.1, loss_name='loss_border')
        )
        self.context = ConvModule(in_channels[-1], channels, 1, norm_cfg=norm_cfg)
        self.smooth_stages = nn.ModuleList(
            SmoothStage(width, channels, norm_cfg) for width in in_channels
        )
        self.smooth_classifiers = nn.ModuleList(
            self._classifier(channels, self.out_channels) for _ in in_channels
        )
        self.border_projections = nn.ModuleList(
            RefinementResidualBlock(width, border_channels, norm_cfg) for width in in_channels
        )
        self.border_refinements = nn.ModuleList(
            RefinementResidualBlock(border_channels, border_channels, norm_cfg)
            for _ in in_channels[1:]
        )
        self.border_classifiers = nn.ModuleList(
            self._classifier(border_channels, 1) for _ in in_channels
        )

    def _classifier(self, in_channels: int, out_channels: int) -> nn.Sequential:
        hidden = 9 * out_channels
        return nn.Sequential(
            RefinementResidualBlock(in_channels, hidden, self.norm_cfg, rectified=False),
            nn.Conv2d(hidden, out_channels, 1),
        )

    def _enlarge(self, inputs: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        return resize(inputs, size, mode='bilinear', align_corners=self.align_corners)

    def smooth_features(self, maps: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Go from coarse to fine.

        Args:
            maps: Maps of the trunk, the finest first.

        Yields:
            Features of each stage, of shape (N, channels, h, w), the coarsest first.
        """
        features = self.context(maps[-1].mean((2, 3), keepdim=True))
        for own, stage in zip(reversed(maps), reversed(self.smooth_stages), strict=True):
            features = stage(own, self._enlarge(features, own.shape[-2:]))
            yield features

    def border_scores(self, maps: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Go from fine to coarse.

        Args:
            maps: Maps of the trunk, the finest first.

        Yields:
            Logits of a border of each stage, of shape (N, 1, H, W), all of the finest map's size.
        """
        features = self.border_projections[0](maps[0])
        yield self.border_classifiers[0](features)
        for own, project, refine, classify in zip(
            maps[1:],
            self.border_projections[1:],
            self.border_refinements,
            self.border_classifiers[1:],
            strict=True,
        ):
            features = refine(features + self._enlarge(project(own), features.shape[-2:]))
            yield classify(features)

    def training_outputs(
        self, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Compute what the losses look at; a compression follows all of it.

        Args:
            inputs: Maps of the trunk.

        Returns:
            Scores of the smooth network's stages, of shape (N, num_classes, h, w), and logits of
            the border network's, of shape (N, 1, H, W); the finest stage first.
        """
        maps = self._transform_inputs(inputs)
        smooth = reversed(list(self.smooth_features(maps)))
        scores = [
            classify(features)
            for classify, features in zip(self.smooth_classifiers, smooth, strict=True)
        ]
        return scores, list(self.border_scores(maps))

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Score every position of the finest map.

        Args:
            inputs: Maps of the trunk.

        Returns:
            Scores of shape (N, num_classes, H, W).
        """
        *_, finest = self.smooth_features(self._transform_inputs(inputs))
        return self.smooth_classifiers[0](finest)

    def loss(
        self,
        inputs: tuple[torch.Tensor, ...],
        batch_data_samples: SampleList,
        train_cfg: ConfigType,
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of all stages of both networks.

        Args:
            inputs: Maps of the trunk.
            batch_data_samples: Samples with label maps of shape (1, H, W).
            train_cfg: Not used.

        Returns:
            The losses and the accuracy, named ``smooth0.loss_ce``, ``border0.loss_border`` and so
            on, 0 being the finest stage.
        """
        smooth, border = self.training_outputs(inputs)
        losses = {}
        for stage, scores in enumerate(smooth):
            of_stage = self.loss_by_feat(scores, batch_data_samples)
            losses.update(add_prefix(of_stage, f'smooth{stage}'))
        labels = self._stack_batch_gt(batch_data_samples)[:, 0]
        borders = label_borders(labels, self.border_width, self.ignore_index)
        for stage, logits in enumerate(border):
            logits = self._enlarge(logits, borders.shape[-2:])
            value = self.loss_border(logits, borders, ignore_index=self.ignore_index)
            losses[f'border{stage}.{self.loss_border.loss_name}'] = value
        return losses
