"""AlexNet as a backbone of mmengine."""

from collections.abc import Sequence

import torch
from mmcv.cnn import AlexNet as MMCVAlexNet
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.models.backbones.stems import check_stem
from mmlayerwise.models.backbones.widths import scale_widths
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class AlexNet(MMCVAlexNet, BaseModule):
    """AlexNet in its one-tower form, without its fully connected layers.

    Krizhevsky et al., ImageNet classification with deep convolutional neural networks (2012), with
    the widths of Krizhevsky, One weird trick for parallelizing convolutional neural networks
    (2014): mmcv's AlexNet with mmengine's initialisation. The keys of ``features`` are those of
    torchvision's checkpoints. The paper has no form for small images; the stem 'cifar' is a 5x5
    convolution of stride 1 in place of the 11x11 one of stride 4, which leaves 3x3 features of a
    32x32 image.

    Args:
        stem: 'imagenet' or 'cifar'.
        out_indices: Which of the three stages to return, each after its pooling (64, 192 and 256
            channels).
        widen_factor: Factor on the channels of every convolution.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        stem: str = 'imagenet',
        out_indices: Sequence[int] = (2,),
        widen_factor: float = 1.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__()
        self.init_cfg = init_cfg or {'type': 'Kaiming', 'layer': 'Conv2d'}
        self.out_indices = tuple(out_indices)
        if check_stem(stem) == 'cifar':
            self.features[0] = nn.Conv2d(3, 64, kernel_size=5, padding=2)
        if widen_factor != 1:
            scale_widths(self.features, widen_factor)

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; mmcv's own method knows no init_cfg."""
        BaseModule.init_weights(self)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Images, float tensor of shape (N, 3, H, W).

        Returns:
            One tensor of shape (N, C_i, H_i, W_i) for each i in ``out_indices``.
        """
        outputs = []
        features = inputs
        for layer in self.features:
            features = layer(features)
            if isinstance(layer, nn.MaxPool2d):
                outputs.append(features)
        return tuple(outputs[index] for index in self.out_indices)
