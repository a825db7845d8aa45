"""Classification heads."""

from mmlayerwise.models.heads.auxiliary_heads import (
    GoogLeNetAuxiliaryHead,
    InceptionV3AuxiliaryHead,
)
from mmlayerwise.models.heads.linear_cls_head import LinearClsHead
from mmlayerwise.models.heads.semantic_supervision_head import SemanticSupervisionHead
from mmlayerwise.models.heads.stacked_linear_cls_head import StackedLinearClsHead

__all__ = [
    'GoogLeNetAuxiliaryHead',
    'InceptionV3AuxiliaryHead',
    'LinearClsHead',
    'SemanticSupervisionHead',
    'StackedLinearClsHead',
]
