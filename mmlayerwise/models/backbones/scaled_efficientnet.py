"""EfficientNet in other widths than its family has."""

from typing import Any

from mmdet.models.backbones import EfficientNet

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class ScaledEfficientNet(EfficientNet):
    """EfficientNet (Tan and Le, 2019) with a further factor on its width.

    The factor multiplies the width coefficient of the paper's compound scaling, so that numbers of
    channels are multiples of 8 as in the family.

    Args:
        arch: Member of the family, as for mmdet's EfficientNet.
        widen_factor: Factor on the channels.
        **kwargs: As for mmdet's EfficientNet.

    Raises:
        UserError: If the factor is not positive.
    """

    def __init__(self, arch: str = 'b0', widen_factor: float = 1.0, **kwargs: Any) -> None:
        if widen_factor <= 0:
            raise UserError(f'widen_factor must be positive, but is {widen_factor}')
        if arch in self.arch_settings:
            width, *others = self.arch_settings[arch]
            self.arch_settings = {**self.arch_settings, arch: (width * widen_factor, *others)}
        super().__init__(arch, **kwargs)
