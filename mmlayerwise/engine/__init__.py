"""Adapters from mmengine to the measure, forward learning and compression."""
