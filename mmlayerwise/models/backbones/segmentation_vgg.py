"""VGG as the trunk of segmentation networks."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmlayerwise.models.backbones.vgg import VGG
from mmlayerwise.models.backbones.vgg_classifier_weights import adapt_classifier_weights
from mmlayerwise.models.layers.max_unpooling import PoolingSwitches
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class SegmentationVGG(VGG):
    """VGG with its fully connected layers as convolutions, dilation and pooling switches.

    The forms of the literature, all of depth 16:

    ==================  ====================================================================
    plain               ``fc_channels=()``
    FCN                 ``input_padding=100``, the 7x7 convolution fc6 and the 1x1 fc7 of 4096
                        channels; with ``input_padding=1, fc_padded=True`` maps of the image's
                        size divided by 32 instead
    SegNet              ``with_bn=True, return_switches=True, fc_channels=()``
    DeconvNet           the same with fc6 and fc7
    DeepLab-LargeFOV    ``pool_kernel_size=3, pool_strides=(2, 2, 2, 1, 1), dilations=(1, 1, 1, 1,
                        2), fc_channels=(1024, 1024), fc_kernel_size=3, fc_dilation=12,
                        fc_padded=True``
    dilated front end   ``pool_strides=(2, 2, 2, None, None), dilations=(1, 1, 1, 1, 2),
                        fc_dilation=4, conv_padded=False, reflection_padding=186``
    ==================  ====================================================================

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` loads torchvision's VGG: fc6 and fc7 are
    its fully connected layers in another shape; smaller ones take every n-th filter and position.

    Simonyan and Zisserman, arXiv 1409.1556; Long, Shelhamer and Darrell, arXiv 1411.4038;
    Badrinarayanan, Kendall and Cipolla, arXiv 1511.00561; Noh, Hong and Han, arXiv 1505.04366; Chen
    et al., arXiv 1412.7062; Yu and Koltun, arXiv 1511.07122.

    Args:
        depth: 11, 13, 16 or 19.
        with_bn: Whether batch normalisation follows every convolution.
        out_indices: Which outputs to return: 0 to 4 are the stages after their poolings, 5 is fc7.
        pool_kernel_size: 2, or 3 with a padding of 1, which poolings of stride 1 need.
        pool_strides: Stride of the pooling of each stage, None to leave the pooling out.
        dilations: Dilation of the convolutions of each stage.
        conv_padded: Whether the 3x3 convolutions keep the size.
        input_padding: Zeros around the input of the first convolution, 1 to keep the size.
        reflection_padding: Rows and columns by which the image is mirrored on every side first.
        fc_channels: Channels of fc6 and fc7; empty to leave them out.
        fc_kernel_size: Rows and columns of the filters of fc6.
        fc_dilation: Dilation of fc6.
        fc_padded: Whether fc6 keeps the size.
        dropout_ratio: Of the dropout after fc6 and fc7.
        return_switches: Whether the tuple of the poolings' :class:`PoolingSwitches` comes last.
        frozen_stages: The first ``frozen_stages`` stages are not trained.
        norm_eval: Whether batch normalisation uses its running statistics in training too.
        ceil_mode: Whether poolings keep a last odd row and column, as Caffe's do.
        widen_factor: Factor on the channels of every 3x3 convolution.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.

    Raises:
        UserError: If the arguments contradict each other.
    """

    def __init__(
        self,
        depth: int = 16,
        with_bn: bool = False,
        out_indices: Sequence[int] = (5,),
        pool_kernel_size: int = 2,
        pool_strides: Sequence[int | None] = (2, 2, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        conv_padded: bool = True,
        input_padding: int = 1,
        reflection_padding: int = 0,
        fc_channels: Sequence[int] = (4096, 4096),
        fc_kernel_size: int = 7,
        fc_dilation: int = 1,
        fc_padded: bool = False,
        dropout_ratio: float = 0.5,
        return_switches: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        ceil_mode: bool = True,
        widen_factor: float = 1.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        _check(out_indices, pool_kernel_size, pool_strides, fc_channels, return_switches)
        super().__init__(
            depth,
            with_bn=with_bn,
            out_indices=(4,),
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            ceil_mode=ceil_mode,
            widen_factor=widen_factor,
            init_cfg=init_cfg,
        )
        self.out_indices = tuple(out_indices)
        self.return_switches = return_switches
        self.reflection_padding = reflection_padding
        for (start, end), stride, dilation in zip(
            self.range_sub_modules, pool_strides, dilations, strict=True
        ):
            self._dilate(range(start, end), dilation, conv_padded)
            self.features[end - 1] = self._pooling(pool_kernel_size, stride, ceil_mode)
        if input_padding != 1:
            self.features[0].padding = (input_padding, input_padding)
        self.fc6 = self.fc7 = None
        if fc_channels:
            width = [m for m in self.features if isinstance(m, nn.Conv2d)][-1].out_channels
            padding = fc_dilation * (fc_kernel_size - 1) // 2 if fc_padded else 0
            norm_cfg = dict(type='BN') if with_bn else None
            self.fc6 = _convolution(
                width,
                fc_channels[0],
                fc_kernel_size,
                padding=padding,
                dilation=fc_dilation,
                norm_cfg=norm_cfg,
            )
            self.fc7 = _convolution(*fc_channels, 1, norm_cfg=norm_cfg)
            self.dropout = nn.Dropout(dropout_ratio)

    def _dilate(self, layers: range, dilation: int, padded: bool) -> None:
        for number in layers:
            layer = self.features[number]
            if isinstance(layer, nn.Conv2d):
                layer.dilation = (dilation, dilation)
                layer.padding = (dilation, dilation) if padded else (0, 0)

    def _pooling(self, kernel_size: int, stride: int | None, ceil_mode: bool) -> nn.Module:
        if stride is None:
            return nn.Identity()
        return nn.MaxPool2d(
            kernel_size,
            stride,
            padding=kernel_size // 2 if kernel_size == 3 else 0,
            ceil_mode=ceil_mode,
            return_indices=self.return_switches,
        )

    def forward(self, inputs: torch.Tensor) -> tuple[Any, ...]:
        """Compute feature maps.

        Args:
            inputs: Images, float tensor of shape (N, 3, H, W).

        Returns:
            One float tensor for each of ``out_indices``; behind them, if asked for, a tuple of the
            switches of the five poolings.

        Raises:
            UserError: If nothing is left of images of this size.
        """
        self._check_size(inputs)
        if self.reflection_padding:
            inputs = nn.functional.pad(inputs, 4 * [self.reflection_padding], mode='reflect')
        features, outputs, switches = inputs, {}, []
        for stage, (start, end) in enumerate(self.range_sub_modules):
            for number in range(start, end - 1):
                features = self.features[number](features)
            size = tuple(features.shape[2:])
            features = self.features[end - 1](features)
            if self.return_switches:
                features, indices = features
                switches.append(PoolingSwitches(indices, size))
            outputs[stage] = features
        if self.fc6 is not None:
            features = self.dropout(self.fc6(features))
            outputs[5] = self.dropout(self.fc7(features))
        chosen = tuple(outputs[index] for index in self.out_indices)
        return (*chosen, tuple(switches)) if self.return_switches else chosen

    def _check_size(self, inputs: torch.Tensor) -> None:
        smallest = self.smallest_input
        if min(inputs.shape[2:]) < smallest:
            height, width = inputs.shape[2:]
            raise UserError(
                f'{type(self).__name__}: nothing is left of an image of {width}x{height} pixels '
                f'after all layers; give images of at least {smallest}x{smallest}'
            )

    @property
    def smallest_input(self) -> int:
        """Height and width in pixels of the smallest image of which something is left."""
        size = 1
        layers = [*self.features, *([self.fc6.conv] if self.fc6 is not None else [])]
        for layer in reversed(layers):
            if isinstance(layer, nn.Conv2d):
                reach = layer.dilation[0] * (layer.kernel_size[0] - 1)
                size = max(1, size + reach - 2 * layer.padding[0])
            elif isinstance(layer, nn.MaxPool2d):
                spare = layer.stride - 1 if layer.ceil_mode else 0
                reach = layer.kernel_size - 2 * layer.padding
                size = max(1, (size - 1) * layer.stride + reach - spare)
        # A reflection takes one pixel more than it repeats.
        padding = self.reflection_padding
        return max(size - 2 * padding, padding + 1 if padding else 1)

    def _load_from_state_dict(
        self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any
    ) -> None:
        if self.fc6 is not None:
            for number, name, side in ((0, 'fc6', 7), (3, 'fc7', 1)):
                adapt_classifier_weights(
                    state_dict,
                    f'{prefix}classifier.{number}',
                    f'{prefix}{name}.conv',
                    side,
                    getattr(self, name).conv.weight.shape,
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, **kwargs: Any
) -> ConvModule:
    conv_cfg = dict(type='mmlayerwise.BiasedConv2d')
    return ConvModule(in_channels, out_channels, kernel_size, conv_cfg=conv_cfg, **kwargs)


def _check(
    out_indices: Sequence[int],
    pool_kernel_size: int,
    pool_strides: Sequence[int | None],
    fc_channels: Sequence[int],
    return_switches: bool,
) -> None:
    problem = None
    last = 5 if fc_channels else 4
    if not out_indices or not set(out_indices) <= set(range(last + 1)):
        problem = f'out_indices are 0 to {last}, not {list(out_indices)}'
    elif len(fc_channels) not in (0, 2):
        problem = f'fc_channels are those of fc6 and fc7, not {list(fc_channels)}'
    elif pool_kernel_size not in (2, 3):
        problem = f'pool_kernel_size is 2 or 3, not {pool_kernel_size}'
    elif not set(pool_strides) <= {1, 2, None} or len(pool_strides) != 5:
        problem = f'pool_strides are five of 1, 2 and None, not {list(pool_strides)}'
    elif pool_kernel_size == 2 and 1 in pool_strides:
        problem = 'poolings of stride 1 need pool_kernel_size=3'
    elif return_switches and (pool_kernel_size != 2 or set(pool_strides) != {2}):
        problem = 'return_switches needs 2x2 poolings of stride 2 in all stages'
    if problem:
        raise UserError(f'SegmentationVGG: {problem}')
