"""What the plugin provides; the entry point in pyproject.toml names this module."""

from mmlayerwise.plugins import hookimpl
from mmlayerwise_example.brute_force import brute_force


@hookimpl
def register_components():
    """Import the module whose decorators register."""
    from mmlayerwise_example import time_limit_hook  # noqa: F401


@hookimpl
def neighbor_backends():
    """Give one more search."""
    return {'brute_force': brute_force}
