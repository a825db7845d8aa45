"""Data sets the toolboxes lack."""
