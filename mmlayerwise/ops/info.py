"""What mmcv reports about its compiled extension (``mmcv.utils.collect_env``)."""

from mmlayerwise.ops.extension import implements

_NOT_COMPILED = 'not available (PyTorch operators of mmlayerwise)'


@implements('get_compiler_version')
def get_compiler_version() -> str:
    """Return a text in place of the version of the C++ compiler."""
    return _NOT_COMPILED


@implements('get_compiling_cuda_version')
def get_compiling_cuda_version() -> str:
    """Return a text in place of the version of the CUDA compiler."""
    return _NOT_COMPILED
