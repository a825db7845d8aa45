"""Necks: from the backbone's feature maps to what the head takes."""

from mmlayerwise.models.necks.global_average_pooling import (
    AdaptiveAveragePooling,
    GlobalAveragePooling,
)

__all__ = ['AdaptiveAveragePooling', 'GlobalAveragePooling']
