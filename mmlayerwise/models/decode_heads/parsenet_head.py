"""The global context of ParseNet."""

from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

from mmlayerwise.models.layers.l2_normalization import L2Normalization
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class ParseNetHead(BaseDecodeHead):
    """Classify each location by its own features and by the mean of all.

    x' = gamma (.) x / ||x||_2 at each location, and the same, with a scale of its own, of the mean
    z of x over the image. Early fusion classifies x' and z' together by one 1x1 convolution; late
    fusion classifies both apart and adds the scores. With :class:`SegmentationVGG` as
    DeepLab-LargeFOV, 20,528,981 and 20,529,002 parameters for 21 classes.

    Liu, Rabinovich and Berg, "ParseNet: Looking Wider to See Better", arXiv 1506.04579, sections
    3.1 and 3.2.

    Args:
        in_channels: Channels of the features.
        fusion: ``'early'`` or ``'late'``.
        normalized: Whether both are normalised, which the paper compares with leaving it out.
        scale: First value of gamma.
        dropout_ratio: Here of the joined features; the trunk drops from its own.
        init_cfg: Initialisation config of mmengine; small random classifiers by default.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``.

    Raises:
        UserError: If there is no such fusion.
    """

    def __init__(
        self,
        in_channels: int = 1024,
        fusion: str = 'early',
        normalized: bool = True,
        scale: float = 10.0,
        dropout_ratio: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        if fusion not in ('early', 'late'):
            raise UserError(f"ParseNetHead: fusion is 'early' or 'late', not {fusion!r}")
        super().__init__(
            in_channels,
            2 * in_channels if fusion == 'early' else in_channels,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg or dict(type='Normal', std=0.01, layer='Conv2d'),
            **kwargs,
        )
        self.fusion = fusion
        self.local_norm, self.context_norm = (
            L2Normalization(in_channels, scale) if normalized else nn.Identity() for _ in range(2)
        )
        if fusion == 'late':
            self.conv_context = nn.Conv2d(in_channels, self.out_channels, 1)

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Score every location.

        Args:
            inputs: Outputs of the trunk.

        Returns:
            Scores of shape (N, num_classes, H', W').
        """
        features = self._transform_inputs(inputs)
        local = self.local_norm(features)
        context = self.context_norm(features.mean((2, 3), keepdim=True))
        if self.fusion == 'late':
            return self.cls_seg(local) + self.conv_context(context)
        return self.cls_seg(torch.cat([local, context.expand_as(local)], dim=1))
