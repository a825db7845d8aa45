"""VGG as a backbone of mmengine."""

from collections.abc import Sequence

import torch
from mmcv.cnn import VGG as MMCVVGG
from mmengine.model import BaseModule

from mmlayerwise.models.backbones.widths import scale_widths
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class VGG(MMCVVGG, BaseModule):
    """VGG (Simonyan and Zisserman, 2015), without its fully connected layers.

    mmcv's VGG with mmengine's initialisation, and with batch normalisation trained unless asked
    otherwise. The keys of ``features`` are those of torchvision's checkpoints, which
    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` loads. The head holds the fully connected
    layers: 4096, 4096 behind 7x7 pooling for ImageNet; 512, 512 behind global pooling for
    CIFAR, with which VGG-16 takes 313,725,952 multiply-adds for a 32x32 image.

    Args:
        depth: 11, 13, 16 or 19.
        with_bn: Whether batch normalisation follows every convolution.
        out_indices: Which of the five stages to return, each after its pooling.
        frozen_stages: The first ``frozen_stages`` stages are not trained.
        norm_eval: Whether batch normalisation uses its running statistics in training too.
        ceil_mode: Whether poolings keep a last odd row and column, so that images below 32x32 are
            not pooled to nothing; of no effect on sizes that 32 divides.
        widen_factor: Factor on the channels of every convolution.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        depth: int,
        with_bn: bool = False,
        out_indices: Sequence[int] = (4,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        ceil_mode: bool = False,
        widen_factor: float = 1.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            depth,
            with_bn=with_bn,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            bn_eval=norm_eval,
            ceil_mode=ceil_mode,
        )
        if widen_factor != 1:
            scale_widths(self.features, widen_factor)
        self.init_cfg = init_cfg or [
            {'type': 'Kaiming', 'layer': 'Conv2d'},
            {'type': 'Constant', 'layer': 'BatchNorm2d', 'val': 1},
        ]

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; mmcv's own method knows no init_cfg."""
        BaseModule.init_weights(self)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Images, float tensor of shape (N, 3, H, W).

        Returns:
            One tensor of shape (N, C_i, H / 2 ** (i + 1), W / 2 ** (i + 1)) for each i in
            ``out_indices``, with C = 64, 128, 256, 512, 512.
        """
        outputs = super().forward(inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def train(self, mode: bool = True) -> 'VGG':
        """Switch between training and evaluation.

        Args:
            mode: Whether to train.

        Returns:
            This module, which mmcv's method forgets.
        """
        super().train(mode)
        return self
