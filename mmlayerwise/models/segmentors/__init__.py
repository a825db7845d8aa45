"""Segmentors; there where mmseg is installed."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmseg') is not None:
    from mmlayerwise.models.segmentors.overlap_tile_encoder_decoder import (
        OverlapTileEncoderDecoder,
    )
    from mmlayerwise.models.segmentors.proposal_encoder_decoder import ProposalEncoderDecoder
    from mmlayerwise.models.segmentors.segmentor_ensemble import SegmentorEnsemble

    __all__ += ['OverlapTileEncoderDecoder', 'ProposalEncoderDecoder', 'SegmentorEnsemble']
