"""Metrics the toolboxes lack."""

from mmlayerwise.evaluation.metrics import Accuracy

__all__ = ['Accuracy']
