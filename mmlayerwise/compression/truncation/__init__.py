"""Cutting a network behind one of its layers, by rules for families of backbones."""

from mmlayerwise.compression.truncation.cut import truncate

__all__ = ['truncate']
