"""Metrics the toolboxes lack."""

from mmlayerwise.evaluation.metrics.accuracy import Accuracy

__all__ = ['Accuracy']
