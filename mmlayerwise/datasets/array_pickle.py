"""Reading pickles of arrays, as CIFAR is distributed, without running what they say.

A pickle may name any function to call. The official CIFAR files hold dicts, lists, numbers, strings
and one numpy array; only what builds these is admitted, and by stand-ins of ours, so that not even
numpy unpickles.
"""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mmlayerwise.utils.errors import UserError

# What the unpickler raises on arbitrary bytes.
BROKEN = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)
ARRAY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')


class _DType:
    """Takes the place of numpy.dtype: only unsigned bytes are data here."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        code = code.decode('ascii') if isinstance(code, bytes) else code
        if code not in ('u1', '|u1'):
            raise pickle.UnpicklingError(f'it holds an array of type {code!r} instead of uint8')

    def __setstate__(self, state: tuple) -> None:
        """Byte order and alignment say nothing about bytes."""


class _Array:
    """Takes the place of numpy.ndarray until its bytes are known."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        # Python 2 strings hold bytes; a pickle that Python 3 wrote for it has them as latin-1.
        data = data.encode('latin1') if isinstance(data, str) else data
        if not isinstance(dtype, _DType) or len(data) != math.prod(shape):
            raise pickle.UnpicklingError(
                f'it holds an array whose bytes do not fill the shape {shape}'
            )
        order = 'F' if is_fortran else 'C'
        self.array = np.frombuffer(data, np.uint8).reshape(shape, order=order)


def _encode(text: str, encoding: str | bytes) -> bytes:
    if encoding not in ('latin1', b'latin1'):
        raise pickle.UnpicklingError(f'it holds a string in the encoding {encoding!r}')
    return text.encode('latin1')


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Admit what builds a numpy array or a byte string, refuse everything else."""
        if module in ARRAY_MODULES and name == '_reconstruct':
            return _Array
        if module == 'numpy' and name in ('ndarray', 'dtype'):
            return _DType if name == 'dtype' else _Array
        if (module, name) == ('_codecs', 'encode'):
            return _encode
        raise pickle.UnpicklingError(f'it wants to call {module}.{name}')


def _plain(value: Any) -> Any:
    """Replace the stand-ins by arrays and byte strings by text, as Python 3 would have them."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, bytes):
        return value.decode('latin1')
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value


def load_array_pickle(path: str | Path) -> dict[str, Any]:
    """Read a pickled dict of uint8 arrays, lists, numbers and strings.

    Args:
        path: A file written by Python 2 or 3.

    Returns:
        The dict, with text for byte strings.

    Raises:
        UserError: If the file is truncated, is not such a pickle, or wants to run anything.
    """
    try:
        with open(path, 'rb') as file:
            content = _ArrayUnpickler(file, encoding='bytes').load()
        content = _plain(content)
    except OSError as error:
        raise UserError(f'cannot read {path}: {error}') from error
    except BROKEN as error:
        raise UserError(
            f'{path} is truncated or not a CIFAR pickle ({error}); download it again'
        ) from error
    if not isinstance(content, dict):
        raise UserError(f'{path} holds a {type(content).__name__} where a dict was expected')
    return content
