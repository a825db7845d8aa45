"""Segmentation samples with a weight for every pixel."""

import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs

from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.utils.errors import UserError


@TRANSFORMS.register_module()
class PackBorderWeights(PackSegInputs):
    """mmseg's packing, and ``border_weight_map`` as ``border_weights`` of the data sample."""

    def transform(self, results: dict) -> dict:
        """Pack a sample.

        Args:
            results: Sample with ``border_weight_map``, float32 of shape (H, W), and what
                ``PackSegInputs`` takes.

        Returns:
            Inputs and data sample; its ``border_weights.data`` has shape (1, H, W).

        Raises:
            UserError: If the sample has no ``border_weight_map``.
        """
        if 'border_weight_map' not in results:
            raise UserError('PackBorderWeights needs BorderWeightMap in front of it')
        packed = super().transform(results)
        weights = torch.from_numpy(results['border_weight_map'])[None]
        packed['data_samples'].border_weights = PixelData(data=weights)
        return packed
