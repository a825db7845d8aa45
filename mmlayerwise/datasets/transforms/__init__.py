"""Transforms the toolboxes lack."""

from importlib.util import find_spec

from mmlayerwise.datasets.transforms.border_weight_map import BorderWeightMap
from mmlayerwise.datasets.transforms.elastic_deform import ElasticDeform
from mmlayerwise.datasets.transforms.load_voc_boxes import LoadVOCBoxes
from mmlayerwise.datasets.transforms.mirror_pad import MirrorPad
from mmlayerwise.datasets.transforms.object_centered_crop import ObjectCenteredCrop
from mmlayerwise.datasets.transforms.object_proposals import LoadObjectProposals, WindowProposals
from mmlayerwise.datasets.transforms.pack_classification_inputs import PackClassificationInputs
from mmlayerwise.datasets.transforms.pack_text_inputs import PackTextInputs
from mmlayerwise.datasets.transforms.padded_random_crop import PaddedRandomCrop
from mmlayerwise.datasets.transforms.proposal_crop import ProposalCrop
from mmlayerwise.datasets.transforms.quantize_characters import QuantizeCharacters

__all__ = [
    'BorderWeightMap',
    'ElasticDeform',
    'LoadObjectProposals',
    'LoadVOCBoxes',
    'MirrorPad',
    'ObjectCenteredCrop',
    'PackClassificationInputs',
    'PackTextInputs',
    'PaddedRandomCrop',
    'ProposalCrop',
    'QuantizeCharacters',
    'WindowProposals',
]

if find_spec('mmseg') is not None:
    from mmlayerwise.datasets.transforms.pack_border_weights import PackBorderWeights

    __all__ += ['PackBorderWeights']

if find_spec('mmdet') is not None:
    from mmlayerwise.datasets.transforms.cut_mix import CutMix
    from mmlayerwise.datasets.transforms.load_image_label import LoadImageLabel
    from mmlayerwise.datasets.transforms.load_panoptic_annotations import LoadPanopticAnnotations

    __all__ += ['CutMix', 'LoadImageLabel', 'LoadPanopticAnnotations']
