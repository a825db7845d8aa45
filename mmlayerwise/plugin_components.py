"""Registers the components of the installed plugins, by being imported."""

from mmlayerwise.plugins import installed_plugins

installed_plugins().register_components()
