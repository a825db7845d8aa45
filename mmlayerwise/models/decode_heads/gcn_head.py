"""Head of the global convolutional network."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from torch import nn

from mmlayerwise.models.layers.large_kernel import BoundaryRefinement, GlobalConvolution
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class GCNHead(BaseDecodeHead):
    """Score maps of every stage by large kernels, refined and summed from coarse to fine.

    Peng et al., Large kernel matters (2017), figure 2A: each stage's map becomes a score map by a
    global convolution and boundary refinement; the coarser one is enlarged to it, added and
    refined; two more steps enlarge and refine up to the image. With 21 classes, ResNet's widths
    and kernels of 15 it has 2,544,276 parameters. Scores are enlarged bilinearly.

    Args:
        in_channels: Channels of the stages, the finest (stride 4) first.
        kernel_size: Size of the global convolutions; 15 in the paper's final model.
        **kwargs: What ``BaseDecodeHead`` takes.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        kernel_size: int = 15,
        **kwargs: Any,
    ) -> None:
        defaults = dict(
            in_index=list(range(len(in_channels))),
            input_transform='multiple_select',
            dropout_ratio=0.0,
            init_cfg=dict(type='Xavier', layer='Conv2d', distribution='uniform'),
        )
        super().__init__(
            in_channels, num_classes, num_classes=num_classes, **{**defaults, **kwargs}
        )
        del self.conv_seg  # the sums are the scores
        self.global_convolutions = nn.ModuleList(
            GlobalConvolution(channels, self.out_channels, kernel_size) for channels in in_channels
        )
        self.stage_refinements = self._refinements(len(in_channels))
        self.sum_refinements = self._refinements(len(in_channels) - 1)
        self.last_refinements = self._refinements(2)

    def _refinements(self, count: int) -> nn.ModuleList:
        return nn.ModuleList(BoundaryRefinement(self.out_channels) for _ in range(count))

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Compute scores.

        Args:
            inputs: Feature maps of the stages.

        Returns:
            Logits of four times the height and width of the finest map.
        """
        scores = [
            refine(convolve(features))
            for features, convolve, refine in zip(
                self._transform_inputs(inputs),
                self.global_convolutions,
                self.stage_refinements,
                strict=True,
            )
        ]
        total = scores.pop()
        for finer, refine in zip(reversed(scores), self.sum_refinements, strict=True):
            total = refine(finer + self._enlarge(total, finer.shape[-2:]))
        for refine in self.last_refinements:
            height, width = total.shape[-2:]
            total = refine(self._enlarge(total, (2 * height, 2 * width)))
        return total

    def _enlarge(self, scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return resize(scores, size=size, mode='bilinear', align_corners=self.align_corners)
