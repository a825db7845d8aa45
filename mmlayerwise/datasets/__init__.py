"""Data sets the toolboxes lack.

Those that inherit from a toolbox are there where the toolbox is installed.
"""

from importlib.util import find_spec

__all__: list[str] = []

if find_spec('mmseg') is not None:
    from mmlayerwise.datasets.camvid import CamVidDataset

    __all__ += ['CamVidDataset']
