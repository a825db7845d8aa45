"""The U-Net's last layer, with its loss weighted pixel by pixel."""

from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import accuracy

from mmlayerwise.models.backbones.unet_classic import crop_to_centre
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class UNetClassicHead(BaseDecodeHead):
    """A 1x1 convolution; labels are cropped to the pixels that it sees.

    The loss is that of Ronneberger, Fischer and Brox (2015), equation 1: the cross entropy of
    every pixel times its weight, which ``BorderWeightMap`` computes and ``PackBorderWeights``
    brings; without weights they are one.

    Args:
        in_channels: Channels of the features.
        **kwargs: What ``BaseDecodeHead`` takes.
    """

    def __init__(self, in_channels: int, **kwargs: Any) -> None:
        super().__init__(in_channels, **{'channels': in_channels, **kwargs})

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Classify every pixel.

        Args:
            inputs: Feature maps of shape (N, C, H, W).

        Returns:
            Logits of shape (N, num_classes, H, W).
        """
        return self.cls_seg(self._transform_inputs(inputs))

    def loss_by_feat(
        self, seg_logits: torch.Tensor, batch_data_samples: list[Any]
    ) -> dict[str, torch.Tensor]:
        """Compare the logits with the middle of the labels.

        Args:
            seg_logits: Tensor of shape (N, num_classes, H, W).
            batch_data_samples: Samples with labels of at least that size, and border weights or
                none.

        Returns:
            The losses of ``loss_decode`` and the pixel accuracy in percent.
        """
        size = seg_logits.shape[-2:]
        labels = crop_to_centre(self._stack_batch_gt(batch_data_samples), size).squeeze(1)
        weights = None
        if all('border_weights' in sample for sample in batch_data_samples):
            stacked = torch.cat([sample.border_weights.data for sample in batch_data_samples])
            weights = crop_to_centre(stacked, size)
        losses = {}
        modules = self.loss_decode
        for module in modules if isinstance(modules, torch.nn.ModuleList) else [modules]:
            value = module(seg_logits, labels, weight=weights, ignore_index=self.ignore_index)
            losses[module.loss_name] = losses.get(module.loss_name, 0) + value
        losses['acc_seg'] = accuracy(seg_logits, labels, ignore_index=self.ignore_index)
        return losses
