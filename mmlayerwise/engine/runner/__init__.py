"""Training loops."""

from mmlayerwise.engine.runner.layerwise_loop import LayerwiseTrainLoop

__all__ = ['LayerwiseTrainLoop']
