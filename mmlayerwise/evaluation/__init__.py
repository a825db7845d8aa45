"""Metrics the toolboxes lack."""
