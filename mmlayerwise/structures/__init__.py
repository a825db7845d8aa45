"""What travels between data sets, models and metrics."""

from mmlayerwise.structures.classification_data_sample import ClassificationDataSample

__all__ = ['ClassificationDataSample']
