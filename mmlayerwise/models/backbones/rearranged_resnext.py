"""ResNeXt with its blocks spread over the stages."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.backbones.resnext import Bottleneck, ResNeXt

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class RearrangedResNeXt(ResNeXt):
    """ResNeXt with any number of blocks in each stage.

    ExFuse moves blocks of ResNeXt-101, which has 3, 4, 23 and 3, to the early stages, so that their
    maps carry more semantics: Zhang et al., arXiv 1804.03821, section 3.1.

    Args:
        stage_blocks: Blocks of each stage.
        **kwargs: What mmseg's ``ResNeXt`` takes, without ``depth``.
    """

    def __init__(self, stage_blocks: Sequence[int] = (8, 8, 9, 8), **kwargs: Any) -> None:
        depth = 3 * sum(stage_blocks) + 2
        self.arch_settings = {depth: (Bottleneck, tuple(stage_blocks))}
        super().__init__(depth=depth, **kwargs)
