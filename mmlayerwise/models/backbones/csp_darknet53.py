"""The backbone of YOLOv4."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.layers.csp_layer import DarknetBottleneck
from torch import nn

from mmlayerwise.models.backbones.scaled_darknet import ScaledDarknet
from mmlayerwise.registry import MODELS

MISH = dict(type='mmlayerwise.Mish', inplace=False)


class _CSPStage(nn.Module):
    """A convolution of stride 2, then residual blocks on one part of the channels.

    The modules stand in the order of darknet's config. The first stage of the network gives both
    parts all channels; the others give each part one half.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        split: bool,
        norm_cfg: dict,
        act_cfg: dict,
        conv_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        width = out_channels // 2 if split else out_channels
        self.downsample = ConvModule(in_channels, out_channels, 3, stride=2, padding=1, **layers)
        self.shortcut_conv = ConvModule(out_channels, width, 1, **layers)
        self.main_conv = ConvModule(out_channels, width, 1, **layers)
        expansion = 1.0 if split else 0.5
        self.blocks = nn.Sequential(
            *[DarknetBottleneck(width, width, expansion, **layers) for _ in range(num_blocks)]
        )
        self.post_conv = ConvModule(width, width, 1, **layers)
        self.transition = ConvModule(2 * width, out_channels, 1, **layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.downsample(inputs)
        main = self.post_conv(self.blocks(self.main_conv(outputs)))
        return self.transition(torch.cat([main, self.shortcut_conv(outputs)], 1))


@MODELS.register_module()
class CSPDarknet53(ScaledDarknet):
    """Darknet-53 with cross-stage partial connections and Mish.

    Bochkovskiy et al., "YOLOv4", 2020 (https://arxiv.org/abs/2004.10934), as in darknet's
    ``csdarknet53``: not mmdet's ``CSPDarknet``, which is that of YOLOv5 and YOLOX. With global
    pooling and a linear layer to 1000 classes it has 27,642,184 parameters. Stage i has stride
    2 ** i; stages 3, 4 and 5 have 256, 512 and 1024 channels.

    Args:
        out_indices: Stages to return, from 0 (the first convolution) to 5.
        act_cfg: Config of the activation; Mish by default.
        norm_eval: Whether batch normalisation uses its running statistics in training too.
        kwargs: As for :class:`ScaledDarknet`, without ``depth``.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (3, 4, 5),
        act_cfg: dict | None = None,
        norm_eval: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            depth=53,
            out_indices=out_indices,
            act_cfg=act_cfg or MISH,
            norm_eval=norm_eval,
            **kwargs,
        )

    @staticmethod
    def make_conv_res_block(
        in_channels: int, out_channels: int, res_repeat: int, **layers: Any
    ) -> _CSPStage:
        """Make a stage.

        Args:
            in_channels: Channels of its input.
            out_channels: Channels of its output.
            res_repeat: Number of residual blocks; the stage of one block is the first.
            layers: Configs of convolution, normalisation and activation.

        Returns:
            The stage.
        """
        return _CSPStage(in_channels, out_channels, res_repeat, split=res_repeat > 1, **layers)
