"""Layers that several networks share."""

from mmlayerwise.models.layers.locally_connected import LocallyConnected2d
from mmlayerwise.models.layers.mish import Mish
from mmlayerwise.models.layers.parallel import Parallel
from mmlayerwise.models.layers.reorg import Reorg
from mmlayerwise.models.layers.word_tree import WordTree

__all__ = ['LocallyConnected2d', 'Mish', 'Parallel', 'Reorg', 'WordTree']
