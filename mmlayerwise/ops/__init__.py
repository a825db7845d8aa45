"""PyTorch implementations of the compiled operators that mmcv may lack.

Used only where mmcv was built without its extension; see :func:`install`.
"""

from mmlayerwise.ops.finder import install

__all__ = ['install']
