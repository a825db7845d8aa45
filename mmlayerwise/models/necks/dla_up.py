"""The neck of CenterNet on deep layer aggregation."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmdet.models.necks import CTResNetNeck
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.registry import MODELS


class IterativeUpsampling(nn.Module):
    """Iterative deep aggregation: coarser maps are projected, enlarged and added one by one.

    Args:
        in_channels: Channels of the maps, finest first; the finest has ``out_channels``.
        out_channels: Channels of the outputs.
        factors: By how much each map but the finest is enlarged.
        use_dcn: Whether the convolutions are deformable.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, factors: Sequence[int], use_dcn: bool
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList()
        self.upsamplings = nn.ModuleList()
        self.nodes = nn.ModuleList()
        for channels, factor in zip(in_channels[1:], factors, strict=True):
            self.projections.append(_convolution(channels, out_channels, use_dcn))
            self.upsamplings.append(
                nn.ConvTranspose2d(
                    out_channels,
                    out_channels,
                    2 * factor,
                    stride=factor,
                    padding=factor // 2,
                    groups=out_channels,
                    bias=False,
                )
            )
            self.nodes.append(_convolution(out_channels, out_channels, use_dcn))

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Aggregate.

        Args:
            features: Maps of shape (N, C_i, H_i, W_i), finest first.

        Returns:
            The finest map and, for each other one, the aggregate up to it; all of shape
            (N, out_channels, H_0, W_0).
        """
        outputs = [features[0]]
        for feature, project, enlarge, node in zip(
            features[1:], self.projections, self.upsamplings, self.nodes, strict=True
        ):
            outputs.append(node(enlarge(project(feature)) + outputs[-1]))
        return outputs


def _convolution(in_channels: int, out_channels: int, use_dcn: bool) -> ConvModule:
    return ConvModule(
        in_channels,
        out_channels,
        3,
        padding=1,
        # The authors' deformable convolution has a bias before the normalisation.
        bias=use_dcn,
        conv_cfg=dict(type='DCNv2') if use_dcn else None,
        norm_cfg=dict(type='BN'),
    )


@MODELS.register_module()
class DLAUp(CTResNetNeck):
    """DLA-34's way up to stride 4 in CenterNet.

    Zhou et al., 2019 (https://arxiv.org/abs/1904.07850), figure 6c: iterative aggregations, each
    one level finer than the one before, whose ends a last one joins. Convolutions are deformable,
    enlarging ones start as bilinear interpolation, as in mmdet's ``CTResNetNeck``.

    Args:
        in_channels: Channels of the backbone's maps of strides 4, 8, 16, ..., finest first.
        num_outs: How many of the aggregated maps, finest first, the last aggregation joins.
        use_dcn: Whether the convolutions are deformable.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 256, 512),
        num_outs: int = 3,
        use_dcn: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        BaseModule.__init__(self, init_cfg)
        self.use_dcn = use_dcn
        self.num_outs = num_outs
        self.aggregations = nn.ModuleList()
        for start in range(len(in_channels) - 2, -1, -1):
            # The coarser maps have become maps of the level above by the aggregations before.
            coarser = len(in_channels) - start - 1
            widths = [in_channels[start], *[in_channels[start + 1]] * coarser]
            self.aggregations.append(
                IterativeUpsampling(widths, in_channels[start], [2] * coarser, use_dcn)
            )
        self.last = IterativeUpsampling(
            in_channels[:num_outs],
            in_channels[0],
            [2**level for level in range(1, num_outs)],
            use_dcn,
        )

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor]:
        """Aggregate the maps of the backbone.

        Args:
            features: One map of shape (N, C_i, H / 2^i, W / 2^i) a level, finest first.

        Returns:
            One map of shape (N, C_0, H, W).
        """
        maps = list(features)
        ends = [maps[-1]]
        for index, aggregate in enumerate(self.aggregations):
            start = len(maps) - 2 - index
            maps[start:] = aggregate(maps[start:])
            ends.insert(0, maps[-1])
        return (self.last(ends[: self.num_outs])[-1],)
