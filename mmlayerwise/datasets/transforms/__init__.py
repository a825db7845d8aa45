"""Transforms the toolboxes lack."""

from mmlayerwise.datasets.transforms.pack_classification_inputs import PackClassificationInputs
from mmlayerwise.datasets.transforms.padded_random_crop import PaddedRandomCrop

__all__ = ['PackClassificationInputs', 'PaddedRandomCrop']
