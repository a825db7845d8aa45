"""Transforms the toolboxes lack."""

from importlib.util import find_spec

from mmlayerwise.datasets.transforms.pack_classification_inputs import PackClassificationInputs
from mmlayerwise.datasets.transforms.pack_text_inputs import PackTextInputs
from mmlayerwise.datasets.transforms.padded_random_crop import PaddedRandomCrop
from mmlayerwise.datasets.transforms.quantize_characters import QuantizeCharacters

__all__ = [
    'PackClassificationInputs',
    'PackTextInputs',
    'PaddedRandomCrop',
    'QuantizeCharacters',
]

if find_spec('mmdet') is not None:
    from mmlayerwise.datasets.transforms.load_panoptic_annotations import LoadPanopticAnnotations

    __all__ += ['LoadPanopticAnnotations']
