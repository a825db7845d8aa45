"""The neck of EfficientDet."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.models.layers.separable_conv import SeparableConv2d
from mmlayerwise.registry import MODELS


def halve(feature: torch.Tensor) -> torch.Tensor:
    """Take the maximum of 3x3 windows with stride 2, padded as TensorFlow's SAME does.

    Args:
        feature: Of shape (N, C, H, W).

    Returns:
        Of shape (N, C, ceil(H / 2), ceil(W / 2)).
    """
    height, width = feature.shape[-2:]
    # SAME pads an odd side on both ends; an even one at its end alone, as the ceil mode does.
    return F.max_pool2d(feature, 3, 2, padding=(height % 2, width % 2), ceil_mode=True)


class WeightedFusion(nn.Module):
    """Fast normalised fusion of feature maps.

    Their sum, weighted by relu(w_i) / (epsilon + sum_j relu(w_j)): section 3.3 of the paper.

    Args:
        num_inputs: Number of feature maps.
        weighted: Whether there are weights; otherwise it is the plain sum.
        epsilon: See above.
    """

    def __init__(self, num_inputs: int, weighted: bool = True, epsilon: float = 1e-4) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs)) if weighted else None
        self.epsilon = epsilon

    def forward(self, *features: torch.Tensor) -> torch.Tensor:
        """Fuse maps of the same shape (N, C, H, W) into one."""
        if self.weights is None:
            return sum(features)
        weights = self.weights.relu()
        weights = weights / (weights.sum() + self.epsilon)
        return sum(weight * feature for weight, feature in zip(weights, features, strict=True))


class BiFPNNode(nn.Module):
    """A node: fusion, activation, separable convolution, normalisation.

    Args:
        num_inputs: Number of feature maps it fuses.
        channels: Their channels and those of the output.
        weighted: Whether the fusion has weights.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
    """

    def __init__(
        self, num_inputs: int, channels: int, weighted: bool, norm_cfg: dict, act_cfg: dict
    ) -> None:
        super().__init__()
        self.fusion = WeightedFusion(num_inputs, weighted)
        self.activate = build_activation_layer(act_cfg)
        self.conv = SeparableConv2d(channels, channels)
        self.norm = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, *features: torch.Tensor) -> torch.Tensor:
        """Fuse maps of the same shape (N, C, H, W) into one."""
        return self.norm(self.conv(self.activate(self.fusion(*features))))


class BiFPNCell(nn.Module):
    """One way down the pyramid and one way up.

    Args:
        num_levels: Levels of the pyramid.
        channels: Channels of every level.
        node_cfg: Further arguments of the nodes.
    """

    def __init__(self, num_levels: int, channels: int, **node_cfg: dict) -> None:
        super().__init__()
        # Of every level but the coarsest, finest first.
        self.top_down = nn.ModuleList(
            BiFPNNode(2, channels, **node_cfg) for _ in range(num_levels - 1)
        )
        # Of every level but the finest; the coarsest had no node on the way down.
        self.bottom_up = nn.ModuleList(
            BiFPNNode(num_inputs, channels, **node_cfg)
            for num_inputs in [3] * (num_levels - 2) + [2]
        )

    def forward(
        self, downward: Sequence[torch.Tensor], upward: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Pass information down and up.

        Args:
            downward: One map of shape (N, C, H_i, W_i) a level, finest first, for the way down.
            upward: The same for the way up.

        Returns:
            One map of the same shape a level.
        """
        merged = [downward[-1]]
        for node, feature in zip(self.top_down[::-1], downward[-2::-1], strict=True):
            enlarged = F.interpolate(merged[0], size=feature.shape[-2:], mode='nearest')
            merged.insert(0, node(feature, enlarged))
        outputs = merged[:1]
        for level, node in enumerate(self.bottom_up, 1):
            between = merged[level:-1][:1]
            outputs.append(node(upward[level], *between, halve(outputs[-1])))
        return outputs


@MODELS.register_module()
class BiFPN(BaseModule):
    """Bidirectional feature pyramid network.

    Tan, Pang and Le, 2020 (https://arxiv.org/abs/1911.09070), section 3. Maps of the backbone reach
    the first cell through 1x1 convolutions with normalisation, of which the ways down and up have
    their own. Coarser levels come from the coarsest map: the first through such a convolution and
    a pooling, the others through poolings.

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        out_channels: Channels of every level.
        num_cells: Number of cells.
        num_outs: Levels of the pyramid.
        weighted: Whether nodes weigh their inputs; EfficientDet-D6 and D7 add them instead.
        norm_cfg: Config of the normalisation; batch normalisation by default.
        act_cfg: Config of the activation; swish by default.
        init_cfg: Initialisation config of mmengine; by default variances are 1 / fan-in.

    Raises:
        ValueError: There is no coarser level than the backbone's.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (40, 112, 320),
        out_channels: int = 64,
        num_cells: int = 3,
        num_outs: int = 5,
        weighted: bool = True,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='linear')
        )
        if num_outs <= len(in_channels):
            raise ValueError(
                f'num_outs must be more than the {len(in_channels)} maps of the backbone, but is '
                f'{num_outs}'
            )
        norm_cfg = norm_cfg or dict(type='BN', momentum=0.01, eps=1e-3)
        self.num_pooled_levels = num_outs - len(in_channels)

        def lateral(channels: int) -> nn.Sequential:
            # The convolution keeps its bias before the normalisation, as the authors' has.
            norm = build_norm_layer(norm_cfg, out_channels)[1]
            return nn.Sequential(nn.Conv2d(channels, out_channels, 1), norm)

        self.downward_laterals = nn.ModuleList(lateral(channels) for channels in in_channels)
        # The finest level has no node on the way up.
        self.upward_laterals = nn.ModuleList(lateral(channels) for channels in in_channels[1:])
        self.extra_lateral = lateral(in_channels[-1])
        self.cells = nn.ModuleList(
            BiFPNCell(
                num_outs,
                out_channels,
                weighted=weighted,
                norm_cfg=norm_cfg,
                act_cfg=act_cfg or dict(type='Swish'),
            )
            for _ in range(num_cells)
        )

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Fuse the maps of the backbone.

        Args:
            features: One map of shape (N, C_i, H_i, W_i) a level, finest first.

        Returns:
            One map of shape (N, out_channels, H_i, W_i) a level, finest first, then those of the
            levels above the backbone.
        """
        downward = [lateral(x) for lateral, x in zip(self.downward_laterals, features, strict=True)]
        upward = downward[:1] + [
            lateral(x) for lateral, x in zip(self.upward_laterals, features[1:], strict=True)
        ]
        pooled = [halve(self.extra_lateral(features[-1]))]
        while len(pooled) < self.num_pooled_levels:
            pooled.append(halve(pooled[-1]))
        downward, upward = downward + pooled, upward + pooled
        for cell in self.cells:
            downward = upward = cell(downward, upward)
        return tuple(upward)
