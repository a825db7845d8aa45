"""Measure, train and compress any OpenMMLab model layer by layer.

Importing the package is all an existing project has to do. It
- supplies ``mmcv._ext`` where mmcv was installed without compiled ops (:mod:`mmlayerwise.ops`),
- bridges what the toolboxes lack on a current torch and numpy (:mod:`mmlayerwise.compat`),
- registers the scope ``mmlayerwise``; components are imported when a config first names one.

:mod:`mmlayerwise.separation` needs torch and numpy only and works without OpenMMLab.
"""

from importlib.util import find_spec

from mmlayerwise import ops
from mmlayerwise.version import __version__

ops.install()

if find_spec('mmengine') is not None:
    from mmlayerwise import compat
    from mmlayerwise import registry as registry  # children of mmengine's registries

    compat.install()

__all__ = ['__version__']
