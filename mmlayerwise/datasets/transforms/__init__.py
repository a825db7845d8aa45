"""Transforms the toolboxes lack."""
