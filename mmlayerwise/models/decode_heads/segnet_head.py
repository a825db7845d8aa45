"""The decoder of SegNet."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

from mmlayerwise.models.layers.max_unpooling import MaxUnpool, PoolingSwitches
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class SegNetHead(BaseDecodeHead):
    """Unpool by the encoder's switches, convolve, and so on up to the image's size.

    The mirror image of VGG-16: with it, 29,449,355 parameters for 11 classes. The classifier is the
    last 3x3 convolution, without normalisation. Images of any size work, as the unpooling restores
    odd sizes.

    Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture
    for Image Segmentation", arXiv 1511.00561, section 3.

    Args:
        in_channels: Channels of the encoder's last pooling.
        stage_channels: Channels of the convolutions after each unpooling, the classifier left out.
        in_index: Where the encoder's outputs hold its last pooling; the switches come last.
        norm_cfg: Normalisation after each convolution.
        dropout_ratio: Before the classifier.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``.
    """

    conv_cfg_of_stages = dict(type='mmlayerwise.BiasedConv2d')

    def __init__(
        self,
        in_channels: int = 512,
        stage_channels: Sequence[Sequence[int]] = (
            (512, 512, 512),
            (512, 512, 256),
            (256, 256, 128),
            (128, 64),
            (64,),
        ),
        in_index: int = 0,
        norm_cfg: dict | None = None,
        dropout_ratio: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        channels = stage_channels[-1][-1]
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            norm_cfg=norm_cfg or dict(type='BN'),
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg or dict(type='Kaiming', layer='Conv2d'),
            **kwargs,
        )
        self.unpool = MaxUnpool()
        self.stages = nn.ModuleList()
        for widths in stage_channels:
            self.stages.append(
                nn.Sequential(
                    *(
                        self._convolution(before, after)
                        for before, after in zip((in_channels, *widths), widths, strict=False)
                    )
                )
            )
            in_channels = widths[-1]
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 3, padding=1)

    def _convolution(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, padding: int = 1
    ) -> ConvModule:
        return ConvModule(
            in_channels,
            out_channels,
            kernel_size,
            padding=padding,
            conv_cfg=self.conv_cfg_of_stages,
            norm_cfg=self.norm_cfg,
        )

    def forward(
        self, inputs: tuple[torch.Tensor | tuple[PoolingSwitches, ...], ...]
    ) -> torch.Tensor:
        """Score every pixel.

        Args:
            inputs: Outputs of a :class:`SegmentationVGG` with switches.

        Returns:
            Scores of shape (N, num_classes, H, W).

        Raises:
            UserError: If there are no switches, or not one for each stage.
        """
        features, switches = self._transform_inputs(inputs), inputs[-1]
        if torch.is_tensor(switches) or len(switches) != len(self.stages):
            raise UserError(
                f'{type(self).__name__} needs the switches of {len(self.stages)} poolings; give '
                'the backbone return_switches=True, and stage_channels for each of its poolings'
            )
        for stage, remembered in zip(self.stages, reversed(switches), strict=True):
            features = stage(self.unpool(features, remembered))
        return self.cls_seg(features)
