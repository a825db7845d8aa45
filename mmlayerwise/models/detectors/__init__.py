"""Detectors; there where mmdet is installed."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmdet') is not None:
    from mmlayerwise.models.detectors.flip_test_centernet import FlipTestCenterNet

    __all__ += ['FlipTestCenterNet']
