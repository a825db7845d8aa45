"""Inception-v3."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.models.backbones.stems import check_stem
from mmlayerwise.models.backbones.widths import scale_branches
from mmlayerwise.models.layers import Parallel
from mmlayerwise.registry import MODELS

BATCH_NORM = {'type': 'BN', 'eps': 1e-3}
Kernel = int | tuple[int, int]


def convolution(
    in_channels: int, out_channels: int, kernel: Kernel, stride: int = 1, same: bool = True
) -> ConvModule:
    """Build a convolution with batch normalisation and ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Kernel size, one number or rows and columns.
        stride: Stride.
        same: Whether to pad so that stride 1 keeps the size; without it, no padding.

    Returns:
        The module.
    """
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (rows // 2, columns // 2) if same else 0
    return ConvModule(
        in_channels, out_channels, (rows, columns), stride, padding, norm_cfg=BATCH_NORM
    )


def chain(in_channels: int, *steps: tuple[int, Kernel]) -> nn.Sequential:
    """Build convolutions of stride 1 one after another.

    Args:
        in_channels: Channels of the input.
        *steps: Output channels and kernel of each.

    Returns:
        The modules.
    """
    modules = nn.Sequential()
    for out_channels, kernel in steps:
        modules.append(convolution(in_channels, out_channels, kernel))
        in_channels = out_channels
    return modules


def parallel(*branches: nn.Module) -> Parallel:
    """Put branches side by side.

    Args:
        *branches: The branches.

    Returns:
        A module that concatenates their outputs.
    """
    return Parallel({f'branch{index}': branch for index, branch in enumerate(branches)})


def projected_pool(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build the branch that averages 3x3 and projects.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.

    Returns:
        The branch.
    """
    pool = nn.AvgPool2d(3, stride=1, padding=1)
    return nn.Sequential(pool, convolution(in_channels, out_channels, 1))


def block_a(in_channels: int, pool_channels: int) -> Parallel:
    """Build a block of figure 5 of the paper, with 5x5 kept in one branch as in the released model.

    Args:
        in_channels: Channels of the input.
        pool_channels: Channels of the pooled branch.

    Returns:
        The block, with 224 + pool_channels output channels.
    """
    return parallel(
        chain(in_channels, (64, 1)),
        chain(in_channels, (48, 1), (64, 5)),
        chain(in_channels, (64, 1), (96, 3), (96, 3)),
        projected_pool(in_channels, pool_channels),
    )


def reduction_a(in_channels: int) -> Parallel:
    """Build the reduction from 35x35 to 17x17.

    Args:
        in_channels: Channels of the input.

    Returns:
        The block, with 480 + in_channels output channels.
    """
    return parallel(
        convolution(in_channels, 384, 3, stride=2, same=False),
        nn.Sequential(
            *chain(in_channels, (64, 1), (96, 3)), convolution(96, 96, 3, stride=2, same=False)
        ),
        nn.MaxPool2d(3, stride=2),
    )


def block_b(channels: int, width: int) -> Parallel:
    """Build a block of figure 6, with 7x7 factorised into 1x7 and 7x1.

    Args:
        channels: Channels of input and output, 768.
        width: Channels between the factors.

    Returns:
        The block.
    """
    row, column = (1, 7), (7, 1)
    return parallel(
        chain(channels, (192, 1)),
        chain(channels, (width, 1), (width, row), (192, column)),
        chain(channels, (width, 1), (width, column), (width, row), (width, column), (192, row)),
        projected_pool(channels, 192),
    )


def reduction_b(in_channels: int) -> Parallel:
    """Build the reduction from 17x17 to 8x8.

    Args:
        in_channels: Channels of the input.

    Returns:
        The block, with 512 + in_channels output channels.
    """
    return parallel(
        nn.Sequential(
            *chain(in_channels, (192, 1)), convolution(192, 320, 3, stride=2, same=False)
        ),
        nn.Sequential(
            *chain(in_channels, (192, 1), (192, (1, 7)), (192, (7, 1))),
            convolution(192, 192, 3, stride=2, same=False),
        ),
        nn.MaxPool2d(3, stride=2),
    )


def block_c(in_channels: int) -> Parallel:
    """Build a block of figure 7, whose filter banks fan out to 1x3 and 3x1.

    Args:
        in_channels: Channels of the input.

    Returns:
        The block, with 2048 output channels.
    """

    def fan_out() -> Parallel:
        return parallel(convolution(384, 384, (1, 3)), convolution(384, 384, (3, 1)))

    return parallel(
        chain(in_channels, (320, 1)),
        nn.Sequential(*chain(in_channels, (384, 1)), fan_out()),
        nn.Sequential(*chain(in_channels, (448, 1), (384, 3)), fan_out()),
        projected_pool(in_channels, 192),
    )


@MODELS.register_module()
class InceptionV3(BaseModule):
    """Inception-v3 (Szegedy et al., Rethinking the Inception architecture, 2016).

    As Google released it: 23,834,568 parameters with a head for 1000 classes, 27,161,264 with the
    auxiliary head (:class:`~mmlayerwise.models.heads.InceptionV3AuxiliaryHead`) on stage 2. Made
    for 299x299 images.

    Args:
        stem: 'imagenet'; or 'cifar', the same convolutions padded and without stride or pooling, so
            that a 32x32 image reaches the first blocks at full resolution.
        out_indices: Which stages to return: 0 the stem (192 channels), 1 the 35x35 blocks (288),
            2 the 17x17 blocks (768), 3 the 8x8 blocks (2048).
        widen_factor: Factor on the channels of every convolution, in sixteenths.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        stem: str = 'imagenet',
        out_indices: Sequence[int] = (3,),
        widen_factor: float = 1.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or {'type': 'Kaiming', 'layer': 'Conv2d'})
        self.out_indices = tuple(out_indices)
        if check_stem(stem) == 'imagenet':
            self.stem = nn.Sequential(
                convolution(3, 32, 3, stride=2, same=False),
                convolution(32, 32, 3, same=False),
                convolution(32, 64, 3),
                nn.MaxPool2d(3, stride=2),
                convolution(64, 80, 1),
                convolution(80, 192, 3, same=False),
                nn.MaxPool2d(3, stride=2),
            )
        else:
            self.stem = chain(3, (32, 3), (32, 3), (64, 3), (80, 1), (192, 3))
        self.mixed5 = nn.Sequential(block_a(192, 32), block_a(256, 64), block_a(288, 64))
        self.mixed6 = nn.Sequential(
            reduction_a(288), *(block_b(768, width) for width in (128, 160, 160, 192))
        )
        self.mixed7 = nn.Sequential(reduction_b(768), block_c(1280), block_c(2048))
        if widen_factor != 1:
            scale_branches(self, widen_factor)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Images, float tensor of shape (N, 3, H, W).

        Returns:
            One tensor of shape (N, C_i, H_i, W_i) for each i in ``out_indices``.
        """
        features = inputs
        outputs = []
        for stage in (self.stem, self.mixed5, self.mixed6, self.mixed7):
            features = stage(features)
            outputs.append(features)
        return tuple(outputs[index] for index in self.out_indices)
