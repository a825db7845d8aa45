"""Adapters from mmengine to the measure, forward learning and compression."""

from mmlayerwise.engine import hooks, runner

__all__ = ['hooks', 'runner']
