"""Layers that several networks share."""

from mmlayerwise.models.layers.parallel import Parallel
from mmlayerwise.models.layers.reorg import Reorg

__all__ = ['Parallel', 'Reorg']
