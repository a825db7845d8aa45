"""Classification heads."""

from mmlayerwise.models.heads.linear_cls_head import LinearClsHead
from mmlayerwise.models.heads.stacked_linear_cls_head import StackedLinearClsHead

__all__ = ['LinearClsHead', 'StackedLinearClsHead']
