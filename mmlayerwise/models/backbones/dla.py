"""Deep layer aggregation."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones.resnet import BasicBlock
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.registry import MODELS

NORM = dict(type='BN')


class DLABlock(BasicBlock):
    """ResNet's basic block; the tree gives its shortcut."""

    def forward(self, x: torch.Tensor, shortcut: torch.Tensor | None = None) -> torch.Tensor:
        """Add two convolutions to the shortcut, by default the input itself."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        return self.relu(out + (x if shortcut is None else shortcut))


class DLATree(nn.Module):
    """Hierarchical deep aggregation: two subtrees whose outputs, and others, meet in a root.

    Args:
        depth: Depth of the tree; 1 joins two blocks.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the tree.
        level_root: Whether the root takes the tree's input, pooled, too.
        extra_channels: Channels of what the trees above give to the root.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        level_root: bool = False,
        extra_channels: int = 0,
    ) -> None:
        super().__init__()
        self.level_root = level_root
        self.downsample = nn.MaxPool2d(stride, stride) if stride > 1 else nn.Identity()
        extra_channels += in_channels if level_root else 0
        # Only the first block of a stage has a shortcut that differs from its input.
        self.project = None
        if depth == 1:
            self.left = DLABlock(in_channels, out_channels, stride)
            self.right = DLABlock(out_channels, out_channels)
            root_channels = 2 * out_channels + extra_channels
            self.root = ConvModule(root_channels, out_channels, 1, norm_cfg=NORM)
            if in_channels != out_channels:
                self.project = ConvModule(in_channels, out_channels, 1, norm_cfg=NORM, act_cfg=None)
        else:
            self.left = DLATree(depth - 1, in_channels, out_channels, stride)
            self.right = DLATree(
                depth - 1,
                out_channels,
                out_channels,
                extra_channels=extra_channels + out_channels,
            )

    def forward(self, x: torch.Tensor, *children: torch.Tensor) -> torch.Tensor:
        """Aggregate.

        Args:
            x: Of shape (N, in_channels, H, W).
            children: What the trees above give to the root, in the output's height and width.

        Returns:
            Of shape (N, out_channels, H / stride, W / stride).
        """
        pooled = self.downsample(x)
        if self.level_root:
            children = (*children, pooled)
        if isinstance(self.left, DLATree):
            return self.right(left := self.left(x), *children, left)
        left = self.left(x, pooled if self.project is None else self.project(pooled))
        return self.root(torch.cat([self.right(left), left, *children], 1))


@MODELS.register_module()
class DLANet(BaseModule):
    """DLA-34: trees of basic blocks, each level's root fed from the level before.

    Yu et al., 2018 (https://arxiv.org/abs/1707.06484).

    Args:
        channels: Channels of the levels of strides 1, 2, 4, 8, 16 and 32.
        depths: Of the first two levels the number of convolutions, then depths of the trees.
        out_indices: Levels to give.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.

    Raises:
        ValueError: There are not six channels and depths.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 128, 256, 512),
        depths: Sequence[int] = (1, 1, 1, 2, 2, 1),
        out_indices: Sequence[int] = (2, 3, 4, 5),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if len(channels) != 6 or len(depths) != 6:
            raise ValueError(
                f'channels and depths must be of six levels, but are {channels} and {depths}'
            )
        self.out_indices = tuple(out_indices)
        self.stem = ConvModule(3, channels[0], 7, padding=3, norm_cfg=NORM)
        self.levels = nn.ModuleList()
        before = channels[0]
        for index, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            stride = 1 if index == 0 else 2
            if index < 2:
                convs = [ConvModule(before, width, 3, stride, padding=1, norm_cfg=NORM)]
                for _ in range(depth - 1):
                    convs.append(ConvModule(width, width, 3, padding=1, norm_cfg=NORM))
                self.levels.append(nn.Sequential(*convs))
            else:
                self.levels.append(DLATree(depth, before, width, stride, level_root=index > 2))
            before = width

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the levels.

        Args:
            x: Images of shape (N, 3, H, W), height and width divisible by 32.

        Returns:
            One tensor of shape (N, C_i, H / 2^i, W / 2^i) for each of ``out_indices``.
        """
        x = self.stem(x)
        outputs = []
        for index, level in enumerate(self.levels):
            x = level(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
