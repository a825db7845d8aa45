"""Adapters from mmengine to the measure, forward learning and compression."""

from mmlayerwise.engine import hooks

__all__ = ['hooks']
