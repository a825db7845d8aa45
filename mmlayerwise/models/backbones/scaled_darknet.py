"""Darknet-53 in other widths."""

from typing import Any

from mmdet.models.backbones import Darknet

from mmlayerwise.models.backbones.widths import scale_branches
from mmlayerwise.registry import MODELS


@MODELS.register_module()
class ScaledDarknet(Darknet):
    """mmdet's Darknet with a factor on its widths.

    Redmon and Farhadi, "YOLOv3", 2018 (https://arxiv.org/abs/1804.02767).

    Args:
        depth: 53.
        widen_factor: Factor on the channels of all convolutions.
        **kwargs: As for mmdet's Darknet.

    Raises:
        UserError: The factor is not positive, or leaves some number of channels broken.
    """

    def __init__(self, depth: int = 53, widen_factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(depth, **kwargs)
        if widen_factor != 1:
            scale_branches(self, widen_factor)
