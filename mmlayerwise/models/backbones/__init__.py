"""Backbones the toolboxes lack."""
