"""Which keyword arguments a class or function takes, as far as its source tells."""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from importlib import import_module


def keyword_arguments(component: Callable) -> frozenset[str] | None:
    """Return the names of all keyword arguments that a component accepts.

    ``**kwargs`` of a constructor is followed up the inheritance order, as long as it goes to
    ``super().__init__`` and nowhere else.

    Args:
        component: A class, function or partial function.

    Returns:
        The names, or None where any name may be accepted.
    """
    try:
        if inspect.isclass(component):
            return _of_class(component)
        return _of_callable(component)
    except (TypeError, ValueError, OSError, SyntaxError):
        return None  # no signature or no source, as for some builtins


def popped_keys(component: type) -> frozenset[str]:
    """Return the keys that a class takes out of dictionaries, perhaps out of its parts' configs.

    Args:
        component: A class.

    Returns:
        Every constant ``key`` in a ``something.pop(key, ...)`` in the modules of its bases.
    """
    return frozenset().union(*(_strings(module)[1] for module in _modules(component)))


def string_constants(component: Callable) -> frozenset[str]:
    """Return the strings in the source of a class, which may be types that it interprets itself.

    Args:
        component: A class or function.

    Returns:
        Every string constant in the modules of its bases.
    """
    return frozenset().union(*(_strings(module)[0] for module in _modules(component)))


def _modules(component: Callable) -> set[str]:
    bases = component.__mro__ if inspect.isclass(component) else (component,)
    outside = ('torch', 'builtins', 'abc', 'collections', 'typing')
    names = {getattr(base, '__module__', None) or 'builtins' for base in bases}
    return {name for name in names if name.split('.')[0] not in outside}


@functools.cache
def _strings(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return all string constants of a module and those that are popped from dictionaries."""
    try:
        tree = ast.parse(inspect.getsource(import_module(module)))
    except (TypeError, OSError, SyntaxError, ImportError):
        return frozenset(), frozenset()
    constants, popped = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            constants.add(node.value)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == 'pop'
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            popped.add(node.args[0].value)
    return frozenset(constants), frozenset(popped)


@functools.cache
def _of_class(component: type) -> frozenset[str] | None:
    if component.__new__ is not object.__new__ and '__new__' in vars(component):
        return None
    if '__call__' in vars(type(component)) and type(component).__module__.split('.')[0] not in (
        'abc',
        'builtins',
        'mmengine',  # ManagerMeta only checks that there is an argument called name
    ):
        return None
    names: set[str] = set()
    for base in component.__mro__:
        constructor = vars(base).get('__init__')
        if constructor is None or base is object:
            continue
        own, open_ended = _parameters(constructor, bound=True)
        names |= own
        if not open_ended:
            return frozenset(names)
        if not _only_passes_on_to_super(inspect.unwrap(constructor), open_ended, base.__name__):
            return None
    return None  # ended at object with **kwargs still open


def _of_callable(component: Callable) -> frozenset[str] | None:
    names, open_ended = _parameters(component, bound=False)
    return None if open_ended else frozenset(names)


def _parameters(function: Callable, bound: bool) -> tuple[set[str], str | None]:
    """Return the named parameters and the name of the ``**`` parameter, if there is one."""
    parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    names |= _deprecated_names(function)
    rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    return names, rest


def _deprecated_names(function: Callable) -> set[str]:
    """Return the old argument names that mmengine's ``deprecated_api_warning`` still accepts."""
    cells = getattr(function, '__closure__', None) if hasattr(function, '__wrapped__') else None
    renamed = [cell.cell_contents for cell in cells or () if isinstance(cell.cell_contents, dict)]
    return {name for names in renamed for name in names if isinstance(name, str)}


@functools.cache
def _only_passes_on_to_super(constructor: Callable, rest: str, owner: str) -> bool:
    """Return whether a constructor uses ``**rest`` for nothing but ``super().__init__``."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(constructor)))
    passed = [
        keyword.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _is_super_init(call.func, owner)
        for keyword in call.keywords
        if keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == rest
    ]
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == rest]
    return len(uses) == len(passed) > 0


def _is_super_init(function: ast.expr, owner: str) -> bool:
    """Return whether an expression is ``super().__init__`` or ``super(Owner, self).__init__``."""
    if not (
        isinstance(function, ast.Attribute)
        and function.attr == '__init__'
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == 'super'
    ):
        return False
    arguments = function.value.args
    # super(Parent, self) skips a class: not followed.
    return not arguments or (isinstance(arguments[0], ast.Name) and arguments[0].id == owner)
