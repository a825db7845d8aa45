"""Separation analysis of layers; needs torch and numpy only.

The measure of Kalhor et al., *Evaluation of Dataflow through layers of Deep Neural Networks*,
arXiv 1906.05156: the share of samples whose nearest neighbour, seen through a layer, has their
label.
"""

from mmlayerwise.separation.batches import Batch
from mmlayerwise.separation.distributed import sharded_neighbors
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.indices import (
    Separation,
    center_separation_index,
    chance_level,
    class_separation_index,
    cross_separation_index,
    measure,
    sample_separation_index,
    separation_index,
    wilson_interval,
)
from mmlayerwise.separation.layers import Layer, Trace
from mmlayerwise.separation.meter import SeparationMeter, measure_separation
from mmlayerwise.separation.neighbors import Neighbors, nearest_neighbors
from mmlayerwise.separation.profile import LayerSeparation, SeparationProfile
from mmlayerwise.separation.samples import (
    BoxSamples,
    GroundTruth,
    ImageSamples,
    InstanceSamples,
    PixelSamples,
    Sampler,
    TextSamples,
    TokenSamples,
)
from mmlayerwise.separation.selection import (
    FeatureRanking,
    rank_features,
    rank_features_by_smoothness,
)
from mmlayerwise.separation.smoothness import (
    Smoothness,
    cross_smoothness_index,
    measure_cross_smoothness,
    measure_smoothness,
    sample_smoothness_index,
    smoothness_index,
)
from mmlayerwise.separation.taps import Tap, Taps, undisturbed

__all__ = [
    'Batch',
    'BoxSamples',
    'FeatureRanking',
    'GroundTruth',
    'ImageSamples',
    'InstanceSamples',
    'Layer',
    'LayerSeparation',
    'Neighbors',
    'PixelSamples',
    'Sampler',
    'Separation',
    'SeparationError',
    'SeparationMeter',
    'SeparationProfile',
    'Smoothness',
    'Tap',
    'Taps',
    'TextSamples',
    'TokenSamples',
    'Trace',
    'center_separation_index',
    'chance_level',
    'class_separation_index',
    'cross_separation_index',
    'cross_smoothness_index',
    'measure',
    'measure_cross_smoothness',
    'measure_separation',
    'measure_smoothness',
    'nearest_neighbors',
    'rank_features',
    'rank_features_by_smoothness',
    'sample_separation_index',
    'sample_smoothness_index',
    'separation_index',
    'sharded_neighbors',
    'smoothness_index',
    'undisturbed',
    'wilson_interval',
]
