"""Metrics the toolboxes lack."""

from importlib.util import find_spec

from mmlayerwise.evaluation.metrics.accuracy import Accuracy

__all__ = ['Accuracy']

if find_spec('mmdet') is not None:
    from mmlayerwise.evaluation.metrics.panoptic_quality import PanopticQuality

    __all__ += ['PanopticQuality']
