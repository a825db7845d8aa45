"""Forward learning: layers learned before, or without, backpropagation; needs torch only."""

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.first_layer import FirstConvolution, find_first_convolution, read_input
from mmlayerwise.forward.layer_samples import LayerSamples, collect_samples
from mmlayerwise.forward.qls import QLSEpoch, QLSResult, QuasiLeastSquares

__all__ = [
    'FirstConvolution',
    'ForwardLearningError',
    'LayerSamples',
    'QLSEpoch',
    'QLSResult',
    'QuasiLeastSquares',
    'collect_samples',
    'find_first_convolution',
    'read_input',
]
