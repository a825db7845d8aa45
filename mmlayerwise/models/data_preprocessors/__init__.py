"""From collated samples to the batch a network takes."""

from mmlayerwise.models.data_preprocessors.classification_data_preprocessor import (
    ClassificationDataPreprocessor,
)
from mmlayerwise.models.data_preprocessors.text_data_preprocessor import TextDataPreprocessor

__all__ = ['ClassificationDataPreprocessor', 'TextDataPreprocessor']
