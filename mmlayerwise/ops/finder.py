"""Supplies the module ``mmcv._ext`` where mmcv has no compiled one."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSION_NAME = 'mmcv._ext'


class ExtensionFinder(MetaPathFinder, Loader):
    """Finds ``mmcv._ext`` after every other finder has failed to.

    It stands last on ``sys.meta_path``, so a compiled extension always wins.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for ``mmcv._ext`` and None for every other module."""
        if fullname != EXTENSION_NAME:
            return None
        return ModuleSpec(fullname, self, origin='mmlayerwise.ops')

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Create a module that looks up operators by name."""
        from mmlayerwise.ops.extension import FallbackExtension

        return FallbackExtension(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Import the implementations, which register themselves."""
        from mmlayerwise.ops.extension import import_implementations

        import_implementations()


def install() -> None:
    """Append the finder to ``sys.meta_path``, once."""
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.append(ExtensionFinder())
