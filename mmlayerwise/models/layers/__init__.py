"""Layers that several networks share."""

from mmlayerwise.models.layers.parallel import Parallel

__all__ = ['Parallel']
