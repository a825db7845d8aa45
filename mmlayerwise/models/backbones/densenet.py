"""DenseNet with bottlenecks as the trunk of dense prediction."""

import re
from collections.abc import Sequence
from math import prod, sqrt
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

NUM_BLOCKS = 4
# Torchvision's files still have the keys of its first version.
_OLD_KEY = re.compile(r'(.*\.denselayer\d+\.(?:norm|conv))\.([12]\..+)')


class _Architecture(NamedTuple):
    growth_rate: int
    stem_channels: int
    block_layers: tuple[int, ...]


ARCHITECTURES = {
    121: _Architecture(32, 64, (6, 12, 24, 16)),
    161: _Architecture(48, 96, (6, 12, 36, 24)),
    169: _Architecture(32, 64, (6, 12, 32, 32)),
    201: _Architecture(32, 64, (6, 12, 48, 32)),
}


class BottleneckDenseLayer(nn.Sequential):
    """BN, ReLU, 1x1, BN, ReLU and 3x3 convolution, whose output is appended to the input.

    Args:
        in_channels: Channels of the input.
        growth_rate: Channels that are appended.
        bottleneck_factor: Channels between the convolutions, by ``growth_rate``.
        dilation: Of the 3x3 convolution.
        drop_rate: Probability of dropping a new value in training.
        with_cp: Whether to compute the layer anew in the backward pass to save memory.
    """

    def __init__(
        self,
        in_channels: int,
        growth_rate: int,
        bottleneck_factor: int = 4,
        dilation: int = 1,
        drop_rate: float = 0.0,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        width = bottleneck_factor * growth_rate
        # Computed anew, a layer moves its running statistics twice: half a step each time.
        momentum = 1 - sqrt(1 - 0.1) if with_cp else 0.1
        self.norm1 = nn.BatchNorm2d(in_channels, momentum=momentum)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width, momentum=momentum)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(
            width, growth_rate, kernel_size=3, padding=dilation, dilation=dilation, bias=False
        )
        self.dropout = nn.Dropout(drop_rate)
        self.with_cp = with_cp

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Append new features.

        Args:
            inputs: Tensor of shape (N, C, H, W).

        Returns:
            Tensor of shape (N, C + growth_rate, H, W).
        """
        if self.with_cp and inputs.requires_grad:
            new = checkpoint(super().forward, inputs, use_reentrant=False)
        else:
            new = super().forward(inputs)
        return torch.cat([inputs, new], dim=1)


@MODELS.register_module()
class DenseNet(BaseModule):
    """DenseNet-121, 161, 169 and 201, with a tap behind every dense block and with dilation.

    Huang et al., Densely connected convolutional networks (2017), table 1. A tap is what a block
    gives to its transition, before that compresses and pools it: with DenseNet-121, 256, 512, 1024
    and 1024 channels at strides 4, 8, 16 and 32. Blocks behind the last tap asked for are left out.

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` loads torchvision's checkpoints, both
    spellings of their keys.

    Args:
        depth: 121, 161, 169 or 201.
        out_indices: Of the blocks whose outputs to return, 0 to 3.
        strides: 2 or 1 for each transition, 1 to leave its pooling out.
        dilations: Dilation of the 3x3 convolutions of each block.
        final_norm: Whether BN and ReLU follow the last block, as in the classifier.
        block_layers: Layers of each block, if not those of the depth.
        growth_rate: Channels that a layer adds, if not those of the depth.
        stem_channels: Channels of the first convolution, if not those of the depth.
        bottleneck_factor: Channels of the bottlenecks, by ``growth_rate``.
        drop_rate: Dropout behind every layer.
        norm_eval: Whether batch normalisation uses its running statistics in training too.
        with_cp: Whether to compute every layer anew in the backward pass: slower, and for large
            images a fraction of the memory (Kreso et al., arXiv 1905.05661).
        init_cfg: Initialisation config of mmengine; Kaiming's by default.

    Attributes:
        out_channels: Channels of the outputs.

    Raises:
        UserError: If an argument is none of these.
    """

    def __init__(
        self,
        depth: int = 121,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        strides: Sequence[int] = (2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        final_norm: bool = True,
        block_layers: Sequence[int] | None = None,
        growth_rate: int | None = None,
        stem_channels: int | None = None,
        bottleneck_factor: int = 4,
        drop_rate: float = 0.0,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or {'type': 'Kaiming', 'layer': 'Conv2d'})
        _check(depth, out_indices, strides, dilations)
        architecture = ARCHITECTURES[depth]
        growth_rate = growth_rate or architecture.growth_rate
        block_layers = tuple(block_layers or architecture.block_layers)
        channels = stem_channels or architecture.stem_channels
        self.norm_eval = norm_eval
        num_blocks = max(out_indices) + 1
        self.strides = tuple(strides)[: num_blocks - 1]
        self.features = _stem(channels)
        widths = []
        for block in range(num_blocks):
            layers = nn.Sequential()
            for layer in range(block_layers[block]):
                layers.add_module(
                    f'denselayer{layer + 1}',
                    BottleneckDenseLayer(
                        channels,
                        growth_rate,
                        bottleneck_factor=bottleneck_factor,
                        dilation=dilations[block],
                        drop_rate=drop_rate,
                        with_cp=with_cp,
                    ),
                )
                channels += growth_rate
            self.features.add_module(f'denseblock{block + 1}', layers)
            widths.append(channels)
            if block + 1 < num_blocks:
                transition = _transition(channels, self.strides[block])
                self.features.add_module(f'transition{block + 1}', transition)
                channels //= 2
        self._taps = [f'denseblock{index + 1}' for index in out_indices]
        if final_norm:
            self.features.add_module('norm5', nn.BatchNorm2d(channels))
            self.features.add_module('relu5', nn.ReLU(inplace=True))
            last = f'denseblock{num_blocks}'
            self._taps = ['relu5' if tap == last else tap for tap in self._taps]
        self.out_channels = tuple(widths[index] for index in out_indices)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Images, float tensor of shape (N, 3, H, W).

        Returns:
            One tensor for each of ``out_indices``. Sizes are rounded up by the stem and down by
            the transitions.

        Raises:
            UserError: If nothing is left of images of this size.
        """
        self._check_size(inputs)
        outputs, features = {}, inputs
        for name, module in self.features.named_children():
            features = module(features)
            if name in self._taps:
                outputs[name] = features
        return tuple(outputs[tap] for tap in self._taps)

    @property
    def smallest_input(self) -> int:
        """Height and width in pixels of the smallest image of which something is left."""
        return 4 * (prod(self.strides) - 1) + 1

    def _check_size(self, inputs: torch.Tensor) -> None:
        smallest = self.smallest_input
        if min(inputs.shape[2:]) < smallest:
            height, width = inputs.shape[2:]
            raise UserError(
                f'DenseNet: nothing is left of an image of {width}x{height} pixels after all '
                f'poolings; give images of at least {smallest}x{smallest}'
            )

    def train(self, mode: bool = True) -> 'DenseNet':
        """Switch between training and evaluation.

        Args:
            mode: Whether to train.

        Returns:
            This module.
        """
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any
    ) -> None:
        for key in [key for key in state_dict if key.startswith(f'{prefix}features.')]:
            match = _OLD_KEY.fullmatch(key)
            if match:
                state_dict[''.join(match.groups())] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _stem(channels: int) -> nn.Sequential:
    stem = nn.Sequential()
    stem.add_module('conv0', nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False))
    stem.add_module('norm0', nn.BatchNorm2d(channels))
    stem.add_module('relu0', nn.ReLU(inplace=True))
    stem.add_module('pool0', nn.MaxPool2d(3, stride=2, padding=1))
    return stem


def _transition(channels: int, stride: int) -> nn.Sequential:
    """BN, ReLU and a 1x1 convolution that halves the channels, and pooling."""
    transition = nn.Sequential()
    transition.add_module('norm', nn.BatchNorm2d(channels))
    transition.add_module('relu', nn.ReLU(inplace=True))
    transition.add_module('conv', nn.Conv2d(channels, channels // 2, 1, bias=False))
    if stride > 1:
        transition.add_module('pool', nn.AvgPool2d(stride))
    return transition


def _check(
    depth: int, out_indices: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> None:
    problem = None
    if depth not in ARCHITECTURES:
        problem = f'depth is 121, 161, 169 or 201, not {depth}'
    elif not out_indices or not set(out_indices) <= set(range(NUM_BLOCKS)):
        problem = f'out_indices are 0 to 3, not {list(out_indices)}'
    elif len(strides) != NUM_BLOCKS - 1 or not set(strides) <= {1, 2}:
        problem = f'strides are three of 1 and 2, not {list(strides)}'
    elif len(dilations) != NUM_BLOCKS:
        problem = f'dilations are those of four blocks, not {list(dilations)}'
    if problem:
        raise UserError(f'DenseNet: {problem}')
