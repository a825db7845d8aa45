"""From collated samples to the batch a network takes."""

from mmlayerwise.models.data_preprocessors.classification_data_preprocessor import (
    ClassificationDataPreprocessor,
)

__all__ = ['ClassificationDataPreprocessor']
