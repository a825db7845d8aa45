"""Batches of equally large images, normalised at once."""

import torch
from mmengine.model import ImgDataPreprocessor

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class ClassificationDataPreprocessor(ImgDataPreprocessor):
    """mmengine's ``ImgDataPreprocessor`` that stacks before it works.

    Images of one size, the rule in classification, are stacked on the host, then moved, reordered
    and normalised as one tensor instead of one by one; the values are the same. Images of several
    sizes are padded to the largest by the parent class.

    Args:
        mean: Mean of each channel, in the order after the conversion below; one or three values.
        std: Standard deviation of each channel.
        pad_size_divisor: The batch's height and width are padded to a multiple of it.
        pad_value: Value of the padding.
        bgr_to_rgb: Reverse the channels of BGR images.
        rgb_to_bgr: Reverse the channels of RGB images.
        non_blocking: Whether the copy to the device may overlap with other work.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make a batch.

        Args:
            data: ``inputs``: a list of N uint8 or float tensors of shape (C, H, W) or one of shape
                (N, C, H, W); ``data_samples``: a list of samples or absent.
            training: Passed on to the parent class.

        Returns:
            ``inputs``: float tensor of shape (N, C, H, W); ``data_samples``: list or None.
        """
        inputs = data['inputs']
        if not isinstance(inputs, torch.Tensor) and len({image.shape for image in inputs}) == 1:
            data = dict(data, inputs=torch.stack(list(inputs)))
        return super().forward(data, training)
