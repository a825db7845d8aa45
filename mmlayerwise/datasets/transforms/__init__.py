"""Transforms the toolboxes lack."""

from importlib.util import find_spec

from mmlayerwise.datasets.transforms.pack_classification_inputs import PackClassificationInputs
from mmlayerwise.datasets.transforms.padded_random_crop import PaddedRandomCrop

__all__ = ['PackClassificationInputs', 'PaddedRandomCrop']

if find_spec('mmdet') is not None:
    from mmlayerwise.datasets.transforms.load_panoptic_annotations import LoadPanopticAnnotations

    __all__ += ['LoadPanopticAnnotations']
