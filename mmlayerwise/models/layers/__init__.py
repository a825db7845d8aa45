"""Layers that several networks share."""

from mmlayerwise.models.layers.biased_conv2d import BiasedConv2d
from mmlayerwise.models.layers.biased_conv_transpose2d import BiasedConvTranspose2d
from mmlayerwise.models.layers.bilinear_conv_transpose import BilinearConvTranspose2d
from mmlayerwise.models.layers.k_max_pooling import HalvingKMaxPooling, k_max_pool
from mmlayerwise.models.layers.l2_normalization import L2Normalization
from mmlayerwise.models.layers.locally_connected import LocallyConnected2d
from mmlayerwise.models.layers.max_unpooling import MaxUnpool, PoolingSwitches
from mmlayerwise.models.layers.mish import Mish
from mmlayerwise.models.layers.parallel import Parallel
from mmlayerwise.models.layers.reorg import Reorg
from mmlayerwise.models.layers.separable_conv import SeparableConv2d
from mmlayerwise.models.layers.transposed_upsample import TransposedUpsample
from mmlayerwise.models.layers.word_tree import WordTree

__all__ = [
    'BiasedConv2d',
    'BiasedConvTranspose2d',
    'BilinearConvTranspose2d',
    'HalvingKMaxPooling',
    'L2Normalization',
    'LocallyConnected2d',
    'MaxUnpool',
    'Mish',
    'Parallel',
    'PoolingSwitches',
    'Reorg',
    'SeparableConv2d',
    'TransposedUpsample',
    'WordTree',
    'k_max_pool',
]
