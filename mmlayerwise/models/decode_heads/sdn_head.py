"""Stacked shallow encoder-decoders behind a deep encoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from mmlayerwise.models.decode_heads.stagewise_head import StagewiseHead
from mmlayerwise.models.layers.stacked_deconvolution import DownsamplingBlock, UpsamplingBlock
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class SDNHead(StagewiseHead):
    """All of a stacked deconvolutional network but its first encoder, which is the trunk.

    A unit goes down from stride 4 to 16 and up again. Its blocks have connections *within* the
    unit: each layer reads all before it in the block; and *between* units: a block on the way down
    reads the previous unit's map of its resolution too, a block on the way up the trunk's. Every
    block on the way up is scored, its scores are added to the previous unit's of the same
    resolution, and the sums are trained on the labels: two maps a unit, the last unit's finest one
    predicts. That last block is scored as it is, without the compression that ends all others.

    Fu et al., Stacked deconvolutional network for semantic segmentation, arXiv 1708.04943.

    Args:
        in_channels: Channels of the trunk's maps, the finest first, each of half the resolution of
            the one before.
        num_units: Units, the trunk being the encoder of the first.
        unit_channels: Channels of the units' maps, the finest first.
        growth_rate: Channels that each layer of a block appends.
        down_layers: Layers of the blocks on the way down, the finer block first.
        up_layers: Layers of the blocks on the way up, the finer block first.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
        **kwargs: Arguments of :class:`StagewiseHead`.

    Raises:
        UserError: If there are not as many widths as maps, or layers as blocks.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (384, 768, 2112),
        num_units: int = 3,
        unit_channels: Sequence[int] = (576, 768, 1024),
        growth_rate: int = 48,
        down_layers: Sequence[int] = (2, 4),
        up_layers: Sequence[int] = (2, 2),
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        _check(in_channels, num_units, unit_channels, down_layers, up_layers)
        init_cfg = init_cfg or dict(
            type='Kaiming',
            mode='fan_in',  # compressions would otherwise amplify what they compress
            layer=['Conv2d', 'ConvTranspose2d'],
            override=dict(type='Normal', name='classifiers', std=0.01),
        )
        super().__init__(in_channels, unit_channels[0], init_cfg=init_cfg, **kwargs)
        self.compress = nn.Conv2d(in_channels[-1], unit_channels[-1], 3, padding=1)
        pairs = list(pairwise(unit_channels))
        self.encoders = nn.ModuleList(
            nn.ModuleList(
                DownsamplingBlock(fine, coarse, coarse, layers, growth_rate)
                for (fine, coarse), layers in zip(pairs, down_layers, strict=True)
            )
            for _ in range(num_units - 1)
        )
        self.decoders = nn.ModuleList()
        for unit in range(num_units):
            last = unit == num_units - 1
            widths = [None if last else unit_channels[0], *unit_channels[1:-1]]
            self.decoders.append(
                nn.ModuleList(
                    UpsamplingBlock(coarse, skip, width, layers, growth_rate)
                    for width, (_, coarse), skip, layers in zip(
                        widths, pairs, in_channels[:-1], up_layers, strict=True
                    )
                )
            )
        self.classifiers = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(one.block.out_channels, self.out_channels, 3, padding=1)
                for one in decoder
            )
            for decoder in self.decoders
        )

    def stage_scores(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Score every block on the way up.

        Args:
            inputs: Outputs of the trunk.

        Returns:
            Scores of shape (N, num_classes, H_i, W_i), unit after unit, in each from coarse to
            fine.
        """
        maps = self._transform_inputs(inputs)
        unit_maps = self._decode(0, self.compress(maps[-1]), maps)
        totals = self._classify(0, unit_maps)
        scores = list(reversed(totals))
        for unit in range(1, len(self.decoders)):
            unit_maps = self._decode(unit, self._encode(unit, unit_maps), maps)
            own = self._classify(unit, unit_maps)
            totals = [total + score for total, score in zip(totals, own, strict=True)]
            scores.extend(reversed(totals))
        return tuple(scores)

    def _encode(self, unit: int, previous: list[torch.Tensor]) -> torch.Tensor:
        """Go down beside the previous unit's maps, the finest first."""
        features = previous[0]
        for block, skip in zip(self.encoders[unit - 1], previous[1:], strict=True):
            features = block(features, skip)
        return features

    def _decode(
        self, unit: int, encoded: torch.Tensor, maps: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Go up beside the trunk's maps; returns the unit's maps, the finest first."""
        decoded = [encoded]
        for block, skip in zip(reversed(self.decoders[unit]), reversed(maps[:-1]), strict=True):
            decoded.insert(0, block(decoded[0], skip))
        return decoded

    def _classify(self, unit: int, unit_maps: list[torch.Tensor]) -> list[torch.Tensor]:
        return [
            classifier(features)
            for classifier, features in zip(self.classifiers[unit], unit_maps[:-1], strict=True)
        ]


def _check(
    in_channels: Sequence[int],
    num_units: int,
    unit_channels: Sequence[int],
    down_layers: Sequence[int],
    up_layers: Sequence[int],
) -> None:
    levels = len(in_channels)
    problem = None
    if num_units < 1:
        problem = f'num_units is at least 1, not {num_units}'
    elif levels < 2 or len(unit_channels) != levels:
        problem = (
            f'in_channels and unit_channels are those of the same two or more maps, not '
            f'{list(in_channels)} and {list(unit_channels)}'
        )
    elif {len(down_layers), len(up_layers)} != {levels - 1}:
        problem = (
            f'down_layers and up_layers are those of {levels - 1} blocks, not '
            f'{list(down_layers)} and {list(up_layers)}'
        )
    if problem:
        raise UserError(f'SDNHead: {problem}')
