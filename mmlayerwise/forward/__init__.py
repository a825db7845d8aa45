"""Forward learning: layers learned before, or without, backpropagation; needs torch only."""

from mmlayerwise.forward.batch_statistics import estimate_batch_statistics
from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.first_layer import FirstConvolution, find_first_convolution, read_input
from mmlayerwise.forward.layer_graph import LayerGraph
from mmlayerwise.forward.layer_learner import LayerLearner, layer_separation_index
from mmlayerwise.forward.layer_order import ForwardLayer, find_layers
from mmlayerwise.forward.layer_samples import LayerSamples, collect_samples
from mmlayerwise.forward.mining import MinedTriplets, NearestTripletMiner
from mmlayerwise.forward.qls import QLSEpoch, QLSResult, QuasiLeastSquares
from mmlayerwise.forward.stop_rule import SeparationStopRule

__all__ = [
    'FirstConvolution',
    'ForwardLayer',
    'ForwardLearningError',
    'LayerGraph',
    'LayerLearner',
    'LayerSamples',
    'MinedTriplets',
    'NearestTripletMiner',
    'QLSEpoch',
    'QLSResult',
    'QuasiLeastSquares',
    'SeparationStopRule',
    'collect_samples',
    'estimate_batch_statistics',
    'find_first_convolution',
    'find_layers',
    'layer_separation_index',
    'read_input',
]
