"""The seam for third parties: hook specifications and the one plugin manager (pluggy).

A plugin is a module or object with functions marked :data:`hookimpl`, named by an entry point of
the group ``mmlayerwise``. Installed plugins are loaded once, when something of theirs may be
needed. What mmlayerwise itself provides is given to the manager in the same way.

A plugin that fails is left out, warned of by name, and named again wherever something unknown is
asked for; the others go on working. The environment variable ``MMLAYERWISE_DISABLED_PLUGINS`` holds
the comma-separated names of plugins to leave alone.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from mmlayerwise.utils.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from mmlayerwise.forward.layer_graph import LayerGraph
    from mmlayerwise.separation.levels import PyramidLevels

PROJECT = 'mmlayerwise'
DISABLED_VARIABLE = 'MMLAYERWISE_DISABLED_PLUGINS'
# Modules of this package that implement hooks, as a plugin does.
BUILT_INS = (
    'mmlayerwise.separation.neighbors',
    'mmlayerwise.separation.indices',
    'mmlayerwise.separation.samples',
    'mmlayerwise.forward.layer_order',
    'mmlayerwise.visualization.renderers',
    'mmlayerwise.compression.truncation.rules',
)

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class PluginWarning(RuntimeWarning):
    """An installed plugin does not work and was left out."""


class HookSpecifications:
    """What a plugin can provide. It implements only the hooks it has something for."""

    @hookspec
    def register_components(self) -> None:
        """Import the modules whose decorators register components in ``mmlayerwise.registry``.

        Called once, before a config is built, so that a config can name the components as
        ``mmlayerwise.<Name>``. Import inside the function: loading the plugin then stays cheap.
        """

    @hookspec
    def separation_indices(self) -> Mapping[str, Callable[..., Any]]:
        """Give measures of how well features separate labels.

        Returns:
            Functions by name, called as ``separation_index(features, labels)`` is: float features
            of shape (num_samples, dimension) and int64 labels of shape (num_samples,).
        """

    @hookspec
    def neighbor_backends(self) -> Mapping[str, Callable[..., Any]]:
        """Give implementations of the nearest-neighbour search.

        Returns:
            Functions by name, with the arguments and the result of
            :func:`mmlayerwise.separation.neighbors.nearest_neighbors` less ``backend``.
        """

    @hookspec
    def samplers(self) -> Mapping[str, Callable[..., Any]]:
        """Give rules of what a labelled sample is, beside images, pixels and boxes.

        Returns:
            Sampler classes by the name that ``samples=dict(type=...)`` uses.
        """

    @hookspec(firstresult=True)
    def pyramid_levels(self, model: 'nn.Module') -> 'PyramidLevels | None':
        """Tell how a detector assigns boxes to the levels of its feature pyramid.

        Args:
            model: The detector, without a distributed wrapper.

        Returns:
            The levels and their rule, or None for a detector this plugin doesn't know.
        """

    @hookspec(firstresult=True)
    def layer_order(self, model: 'nn.Module', graph: 'LayerGraph') -> Sequence[str] | None:
        """Order the layers of a network for which the built-in rule is not the right one.

        Args:
            model: The network, without a distributed wrapper.
            graph: What one forward pass computes from what.

        Returns:
            Names of sub-modules, first to last, or None for a network this plugin doesn't know.
        """

    @hookspec(firstresult=True)
    def truncate_backbone(self, backbone: 'nn.Module', layer: str) -> 'nn.Module | None':
        """Cut a backbone behind one of its layers.

        Args:
            backbone: The backbone.
            layer: Name of the last sub-module to keep.

        Returns:
            The backbone up to and with the layer, or None for one this plugin doesn't know.
        """

    @hookspec
    def report_renderers(self) -> Mapping[str, Callable[..., Any]]:
        """Give ways to show a measurement.

        Returns:
            Functions by name, called with a
            :class:`mmlayerwise.visualization.report.ReportData` and the folder of the results;
            they write there and return the path of what they wrote. For a measurement that is only
            drawn as a picture the data hold the record and no more.
        """


class Plugins:
    """The plugins at hand.

    Args:
        built_ins: Modules to register first, by name.
        entries: Entry points of the installed plugins.
        disabled: Names of entry points to leave alone.

    Attributes:
        broken: What went wrong, by the name of each plugin that was left out.
    """

    def __init__(
        self,
        built_ins: Sequence[str] = (),
        entries: Sequence[EntryPoint] = (),
        disabled: Sequence[str] = (),
    ) -> None:
        self.broken: dict[str, str] = {}
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecifications)
        for name in built_ins:
            self._manager.register(import_module(name), name=name)
        self._manager.check_pending()
        for entry in entries:
            if entry.name not in disabled:
                self._load(entry)

    @property
    def names(self) -> list[str]:
        """Names of the plugins that work, the built-in ones first."""
        return [name for name, _ in self._manager.list_name_plugin()]

    def register_components(self) -> None:
        """Let every plugin register its components."""
        for _ in self._each('register_components'):
            pass

    def provided(self, hook: str) -> dict[str, Callable[..., Any]]:
        """Return everything that the built-ins and plugins give under one hook.

        Args:
            hook: Name of a hook that gives a mapping, such as ``'neighbor_backends'``.

        Returns:
            What is given, by name.

        Raises:
            UserError: If two plugins give the same name.
        """
        found: dict[str, Callable[..., Any]] = {}
        giver: dict[str, str] = {}
        for plugin, given in self._each(hook):
            for name, value in given.items():
                if name in found:
                    raise UserError(
                        f'plugins {giver[name]!r} and {plugin!r} both give {name!r} under {hook}; '
                        f'name one of them in {DISABLED_VARIABLE} or uninstall it'
                    )
                found[name], giver[name] = value, plugin
        return found

    def look_up(self, hook: str, name: str) -> Callable[..., Any]:
        """Return one of the things given under a hook.

        Args:
            hook: Name of a hook that gives a mapping, such as ``'neighbor_backends'``.
            name: The wanted one.

        Raises:
            UserError: If nobody gives it; those there are and the broken plugins are listed.
        """
        found = self.provided(hook)
        if name in found:
            return found[name]
        message = f'{name!r} is not among the {hook}; there are: {", ".join(sorted(found))}'
        for plugin, reason in self.broken.items():
            message += f'\n  plugin {plugin!r} was left out: {reason}'
        raise UserError(message)

    def ask(self, hook: str, **arguments: Any) -> Any:
        """Return the first answer to a question that is not None.

        Args:
            hook: Name of a hook that answers, such as ``'layer_order'``.
            **arguments: What the hook takes.

        Returns:
            The answer, or None if no plugin has one.
        """
        answers = (answer for _, answer in self._each(hook, **arguments))
        return next(answers, None)

    def _load(self, entry: EntryPoint) -> None:
        """Load one installed plugin, or leave it out with a warning."""
        try:
            plugin = entry.load()
            self._manager.register(plugin, name=entry.name)
        except Exception as error:
            self._leave_out(entry.name, error)
            return
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:  # a hook that does not exist
            self._leave_out(entry.name, error)

    def _each(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Yield each plugin's name and result, leaving out None and plugins that fail."""
        caller = getattr(self._manager.hook, hook)
        # pluggy calls the last implementation first.
        for implementation in reversed(caller.get_hookimpls()):
            taken = {name: arguments[name] for name in implementation.argnames}
            try:
                if implementation.wrapper or implementation.hookwrapper:
                    raise TypeError(f'{hook} is a hook wrapper, which mmlayerwise does not call')
                result = implementation.function(**taken)
            except Exception as error:
                if implementation.plugin_name in BUILT_INS:
                    raise
                self._leave_out(implementation.plugin_name, error)
                continue
            if result is not None:
                yield implementation.plugin_name, result

    def _leave_out(self, name: str, error: Exception) -> None:
        """Remember that a plugin is broken and go on without it."""
        self.broken[name] = f'{type(error).__name__}: {error}'
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        warnings.warn(
            f'plugin {name!r} of mmlayerwise does not work and is left out: {self.broken[name]} '
            f'(mend or uninstall it, or name it in {DISABLED_VARIABLE})',
            PluginWarning,
            stacklevel=2,
        )


@cache
def installed_plugins() -> Plugins:
    """Return the built-ins and the installed plugins, loaded on the first call."""
    disabled = [name.strip() for name in os.environ.get(DISABLED_VARIABLE, '').split(',')]
    # A package found twice on the path names its entry points twice.
    entries = {(entry.name, entry.value): entry for entry in entry_points(group=PROJECT)}
    return Plugins(BUILT_INS, tuple(entries.values()), disabled)
