"""Acting on a module of another package when it is first imported, without importing it."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

Action = Callable[[ModuleType], None]


class _AfterImportFinder(MetaPathFinder):
    """Finds one module by the finders behind it and has its loader act afterwards."""

    def __init__(self, name: str, action: Action) -> None:
        self.name = name
        self.action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                self.action(module)

            spec.loader.exec_module = execute_and_act
        return spec


def after_import(name: str, action: Action) -> None:
    """Call ``action`` on a module as soon as it is imported, or at once if it has been.

    Args:
        name: Full name of the module; it need not be installed.
        action: Called once, with the module.
    """
    if name in sys.modules:
        action(sys.modules[name])
        return
    sys.meta_path.insert(0, _AfterImportFinder(name, action))
