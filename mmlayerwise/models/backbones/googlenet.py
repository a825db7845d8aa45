"""GoogLeNet, the first Inception network."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.models.backbones.stems import check_stem
from mmlayerwise.models.backbones.widths import scale_branches
from mmlayerwise.models.layers import Parallel
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

# Table 1 of the paper: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
BLOCKS = {
    '3a': (64, 96, 128, 16, 32, 32),
    '3b': (128, 128, 192, 32, 96, 64),
    '4a': (192, 96, 208, 16, 48, 64),
    '4b': (160, 112, 224, 24, 64, 64),
    '4c': (128, 128, 256, 24, 64, 64),
    '4d': (112, 144, 288, 32, 64, 64),
    '4e': (256, 160, 320, 32, 128, 128),
    '5a': (256, 160, 320, 32, 128, 128),
    '5b': (384, 192, 384, 48, 128, 128),
}
# What the branch of the larger kernel is made of.
LARGE_KERNELS = {'5x5': (5,), '3x3': (3,), '3x3-3x3': (3, 3)}
BATCH_NORM = {'type': 'BN', 'eps': 1e-3}


def inception_block(
    in_channels: int, widths: Sequence[int], large_kernels: Sequence[int], norm_cfg: dict | None
) -> Parallel:
    """Build an Inception block (figure 2b of the paper).

    Args:
        in_channels: Channels of the input.
        widths: The six widths of a row of table 1.
        large_kernels: Kernel sizes of the branch that is 5x5 in the paper.
        norm_cfg: Normalisation of every convolution.

    Returns:
        The block; its output has ``widths[0] + widths[2] + widths[4] + widths[5]`` channels.
    """

    def convolution(before: int, after: int, kernel_size: int) -> ConvModule:
        padding = kernel_size // 2
        return ConvModule(before, after, kernel_size, padding=padding, norm_cfg=norm_cfg)

    one, reduce3, three, reduce5, five, projection = widths
    large = [convolution(in_channels, reduce5, 1)]
    for index, kernel_size in enumerate(large_kernels):
        large.append(convolution(five if index else reduce5, five, kernel_size))
    return Parallel(
        {
            'branch1': convolution(in_channels, one, 1),
            'branch2': nn.Sequential(
                convolution(in_channels, reduce3, 1), convolution(reduce3, three, 3)
            ),
            'branch3': nn.Sequential(*large),
            'branch4': nn.Sequential(
                nn.MaxPool2d(3, stride=1, padding=1), convolution(in_channels, projection, 1)
            ),
        }
    )


def pooling() -> nn.MaxPool2d:
    """Pool by two as everywhere between the blocks."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


@MODELS.register_module()
class GoogLeNet(BaseModule):
    """GoogLeNet (Szegedy et al., Going deeper with convolutions, 2015).

    The auxiliary classifiers of the paper are auxiliary heads here: on blocks 4a and 4d, indices 2
    and 5 (:class:`~mmlayerwise.models.heads.GoogLeNetAuxiliaryHead`). Forms in use, with a head for
    1000 classes: torchvision's (batch normalisation, ``large_kernel='3x3'``) has 6,624,904
    parameters and loads its checkpoints' keys; the paper's and Caffe's (``norm_cfg=None``,
    ``large_kernel='5x5'``, local response normalisation) has 6,998,552.

    Args:
        stem: 'imagenet'; or 'cifar', one 3x3 convolution to 192 channels at full resolution.
        large_kernel: The branch that is '5x5' in the paper; '3x3' in torchvision; '3x3-3x3' as
            Inception-v3 factorises it, usual on CIFAR-10.
        norm_cfg: Normalisation of every convolution; None as in the paper.
        out_indices: Which of the nine blocks 3a, 3b, 4a, 4b, 4c, 4d, 4e, 5a, 5b to return.
        widen_factor: Factor on the channels of every convolution, in eighths.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        stem: str = 'imagenet',
        large_kernel: str = '5x5',
        norm_cfg: dict | None = BATCH_NORM,
        out_indices: Sequence[int] = (8,),
        widen_factor: float = 1.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or {'type': 'Kaiming', 'layer': 'Conv2d'})
        if large_kernel not in LARGE_KERNELS:
            raise UserError(
                f'large_kernel must be one of {", ".join(map(repr, LARGE_KERNELS))}, '
                f'but is {large_kernel!r}'
            )
        self.out_indices = tuple(out_indices)
        if check_stem(stem) == 'imagenet':
            self._make_imagenet_stem(norm_cfg)
        else:
            self.conv1 = ConvModule(3, 192, 3, padding=1, norm_cfg=norm_cfg)
        channels = 192
        for name, widths in BLOCKS.items():
            if name in ('4a', '5a'):
                self.add_module(f'maxpool{int(name[0]) - 1}', pooling())
            block = inception_block(channels, widths, LARGE_KERNELS[large_kernel], norm_cfg)
            self.add_module(f'inception{name}', block)
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        if widen_factor != 1:
            scale_branches(self, widen_factor)

    def _make_imagenet_stem(self, norm_cfg: dict | None) -> None:
        # Batch normalisation made local response normalisation obsolete.
        with_response_norm = norm_cfg is None
        self.conv1 = ConvModule(3, 64, 7, stride=2, padding=3, norm_cfg=norm_cfg)
        self.maxpool1 = pooling()
        if with_response_norm:
            self.response_norm1 = nn.LocalResponseNorm(5)
        self.conv2 = ConvModule(64, 64, 1, norm_cfg=norm_cfg)
        self.conv3 = ConvModule(64, 192, 3, padding=1, norm_cfg=norm_cfg)
        if with_response_norm:
            self.response_norm2 = nn.LocalResponseNorm(5)
        self.maxpool2 = pooling()

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Images, float tensor of shape (N, 3, H, W).

        Returns:
            One tensor of shape (N, C_i, H_i, W_i) for each i in ``out_indices``; the last block has
            1024 channels at stride 32 (stride 4 with the stem 'cifar').
        """
        features = inputs
        outputs = []
        for name, module in self.named_children():
            features = module(features)
            if name.startswith('inception'):
                outputs.append(features)
        return tuple(outputs[index] for index in self.out_indices)
