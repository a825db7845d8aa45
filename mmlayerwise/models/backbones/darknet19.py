"""The backbone of YOLOv2."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import nn

from mmlayerwise.models.backbones.scaled_darknet import ScaledDarknet
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class Darknet19(ScaledDarknet):
    """Darknet-19: 3x3 convolutions, each pair with a 1x1 convolution between, and max-pooling.

    Redmon and Farhadi, "YOLO9000: better, faster, stronger", 2017, table 6
    (https://arxiv.org/abs/1612.08242). With a 1x1 convolution to 1000 classes and global pooling
    (the same function as global pooling and a linear layer) it has 20,842,376 parameters. Stage i
    has stride 2 ** i; stages 4 and 5 have 512 and 1024 channels.

    Args:
        out_indices: Stages to return, from 0 (the first convolution) to 5.
        norm_eval: Whether batch normalisation uses its running statistics in training too.
        kwargs: As for :class:`ScaledDarknet`, without ``depth``.
    """

    arch_settings = {  # convolutions of each stage; their input and output channels
        19: ((1, 3, 3, 5, 5), ((32, 64), (64, 128), (128, 256), (256, 512), (512, 1024)))
    }

    def __init__(
        self, out_indices: Sequence[int] = (4, 5), norm_eval: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(depth=19, out_indices=out_indices, norm_eval=norm_eval, **kwargs)

    @staticmethod
    def make_conv_res_block(
        in_channels: int, out_channels: int, res_repeat: int, **layers: Any
    ) -> nn.Sequential:
        """Make a stage: pooling, then wide 3x3 and narrow 1x1 convolutions by turns.

        Args:
            in_channels: Channels of the stage's input.
            out_channels: Channels of its 3x3 convolutions; the 1x1 convolutions have half as many.
            res_repeat: Number of convolutions, odd.
            layers: Configs of convolution, normalisation and activation.

        Returns:
            The stage.
        """
        stage = nn.Sequential(nn.MaxPool2d(2, 2))
        for index in range(res_repeat):
            wide = index % 2 == 0
            width = out_channels if wide else out_channels // 2
            size = 3 if wide else 1
            stage.append(ConvModule(in_channels, width, size, padding=size // 2, **layers))
            in_channels = width
        return stage
