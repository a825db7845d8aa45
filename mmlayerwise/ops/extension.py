"""The stand-in for the module ``mmcv._ext`` and the table of its operators."""

import pkgutil
from collections.abc import Callable
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

from mmlayerwise.utils.errors import UserError

_IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {}


class OperatorUnavailableError(UserError, NotImplementedError):
    """A model called an operator that exists neither in the installed mmcv nor here."""


def implements(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the operator ``name`` of ``mmcv._ext``.

    Args:
        name: Name under which mmcv looks the operator up, such as ``'roi_align_forward'``.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        KeyError: If another function implements the operator already.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in _IMPLEMENTATIONS:
            raise KeyError(f'operator {name!r} is implemented twice')
        _IMPLEMENTATIONS[name] = function
        return function

    return register


def import_implementations() -> None:
    """Import every module of this package; those that hold operators register them."""
    import mmlayerwise.ops as package

    for module in pkgutil.iter_modules(package.__path__):
        import_module(f'{package.__name__}.{module.name}')


def implemented_operators() -> tuple[str, ...]:
    """Return the sorted names of the operators of ``mmcv._ext`` that this package implements."""
    import_implementations()
    return tuple(sorted(_IMPLEMENTATIONS))


class FallbackExtension(ModuleType):
    """A module that has every operator name; those without an implementation raise when called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # Python probes modules for dunder names; answering would make it a package or a proxy.
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        return _IMPLEMENTATIONS.get(name) or _missing_operator(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_IMPLEMENTATIONS})


def _missing_operator(name: str) -> Callable[..., Any]:
    def raise_unavailable(*args: Any, **kwargs: Any) -> None:
        raise OperatorUnavailableError(
            f'operator {name!r} of mmcv.ops is not available: {_installed_mmcv()} was installed '
            'without its compiled extension, and mmlayerwise has no PyTorch version of this '
            f'operator. To use it, install an mmcv with compiled operators: {_install_command()} '
            f'PyTorch versions exist of: {", ".join(implemented_operators())}.'
        )

    raise_unavailable.__name__ = name
    return raise_unavailable


def _distribution() -> tuple[str, str]:
    for name in ('onedl-mmcv', 'mmcv-lite', 'mmcv'):
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return 'mmcv', 'of unknown version'


def _installed_mmcv() -> str:
    return ' '.join(_distribution())


def _install_command() -> str:
    name, version = _distribution()
    if name == 'onedl-mmcv':
        return (
            f'"MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary onedl-mmcv '
            f'onedl-mmcv=={version}" builds them (needs a C++ compiler).'
        )
    return (
        '"pip uninstall -y mmcv-lite && pip install -U openmim && mim install \'mmcv>=2.0,<2.2\'" '
        'takes ready wheels where they exist for your torch, else builds them.'
    )
