"""The stand-in for the module ``mmcv._ext`` and the table of its operators."""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

_IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {}
# Modules of this package that hold machinery and no operators.
_MACHINERY = frozenset({'extension', 'finder'})


def implements(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the operator ``name`` of ``mmcv._ext``.

    Args:
        name: Name under which mmcv looks the operator up, such as ``'roi_align_forward'``.

    Returns:
        A decorator that leaves the function as it is.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in _IMPLEMENTATIONS:
            raise KeyError(f'operator {name!r} is implemented twice')
        _IMPLEMENTATIONS[name] = function
        return function

    return register


def import_implementations() -> None:
    """Import every module of this package that holds operators."""
    import mmlayerwise.ops as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _MACHINERY:
            import_module(f'{package.__name__}.{module.name}')


class FallbackExtension(ModuleType):
    """A module that has every operator name; those without an implementation raise when called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return _IMPLEMENTATIONS.get(name) or _missing_operator(name)


def _missing_operator(name: str) -> Callable[..., Any]:
    def raise_missing(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f'mmcv operator {name!r} is not available: mmcv was installed without its compiled '
            'extension and mmlayerwise has no PyTorch version of this operator. Install an mmcv '
            'with compiled ops (mim install mmcv) to use it.'
        )

    raise_missing.__name__ = name
    return raise_missing
