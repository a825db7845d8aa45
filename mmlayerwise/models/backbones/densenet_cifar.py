"""DenseNet without bottlenecks, for small images."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

NUM_STAGES = 3


class DenseLayer(nn.Sequential):
    """BN, ReLU and a 3x3 convolution, whose output is appended to the input.

    Args:
        in_channels: Channels of the input.
        growth_rate: Channels that are appended.
        drop_rate: Probability of dropping a new value in training.
    """

    def __init__(self, in_channels: int, growth_rate: int, drop_rate: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, growth_rate, kernel_size=3, padding=1, bias=False)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Append new features.

        Args:
            inputs: Tensor of shape (N, C, H, W).

        Returns:
            Tensor of shape (N, C + growth_rate, H, W).
        """
        return torch.cat([inputs, super().forward(inputs)], dim=1)


class Transition(nn.Sequential):
    """BN, ReLU, a 1x1 convolution that keeps the width, and pooling by two.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(2)


@MODELS.register_module()
class DenseNetCIFAR(BaseModule):
    """DenseNet of the paper's CIFAR experiments: three dense blocks, no bottleneck.

    Huang et al., Densely connected convolutional networks (2017), section 3. Depth 40 with growth
    rate 12 has 1,019,722 parameters with a head for ten classes. Stage 0 is the first dense block;
    stages 1 and 2 are a transition and a dense block; the last one ends with BN and ReLU.

    Args:
        depth: Number of layers, 3 n + 4 with n layers a block.
        growth_rate: Channels that a layer adds.
        stem_channels: Channels of the first convolution.
        drop_rate: Dropout behind every convolution of the blocks; the paper has 0.2 where the
            images are not augmented.
        out_indices: Which of the three stages to return.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        depth: int = 40,
        growth_rate: int = 12,
        stem_channels: int = 16,
        drop_rate: float = 0.0,
        out_indices: Sequence[int] = (2,),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or {'type': 'Kaiming', 'layer': 'Conv2d'})
        layers_per_block, rest = divmod(depth - NUM_STAGES - 1, NUM_STAGES)
        if rest or layers_per_block < 1:
            raise UserError(f'the depth must be 3 n + 4 with n >= 1, but is {depth}')
        self.out_indices = tuple(out_indices)
        self.stem = nn.Conv2d(3, stem_channels, kernel_size=3, padding=1, bias=False)
        self.stages = nn.ModuleList()
        channels = stem_channels
        for stage in range(NUM_STAGES):
            modules = nn.Sequential()
            if stage > 0:
                modules.add_module('transition', Transition(channels))
            for layer in range(layers_per_block):
                modules.add_module(f'layer{layer}', DenseLayer(channels, growth_rate, drop_rate))
                channels += growth_rate
            self.stages.append(modules)
        self.stages[-1].add_module('norm', nn.BatchNorm2d(channels))
        self.stages[-1].add_module('relu', nn.ReLU(inplace=True))
        self.out_channels = channels

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Images, float tensor of shape (N, 3, H, W).

        Returns:
            One tensor of shape (N, C_i, H / 2 ** i, W / 2 ** i) for each i in ``out_indices``.
        """
        features = self.stem(inputs)
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return tuple(outputs[index] for index in self.out_indices)
