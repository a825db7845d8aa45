"""Necks the toolboxes lack."""
