"""Registered networks and their parts."""

from mmlayerwise.models import (
    backbones,
    classifiers,
    data_preprocessors,
    decode_heads,
    dense_heads,
    detectors,
    heads,
    layers,
    losses,
    necks,
    segmentors,
    task_modules,
)

__all__ = [
    'backbones',
    'classifiers',
    'data_preprocessors',
    'decode_heads',
    'dense_heads',
    'detectors',
    'heads',
    'layers',
    'losses',
    'necks',
    'segmentors',
    'task_modules',
]
