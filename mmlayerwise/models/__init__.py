"""Registered networks and their parts."""

from mmlayerwise.models import (
    backbones,
    classifiers,
    data_preprocessors,
    dense_heads,
    detectors,
    heads,
    layers,
    losses,
    necks,
    task_modules,
)

__all__ = [
    'backbones',
    'classifiers',
    'data_preprocessors',
    'dense_heads',
    'detectors',
    'heads',
    'layers',
    'losses',
    'necks',
    'task_modules',
]
