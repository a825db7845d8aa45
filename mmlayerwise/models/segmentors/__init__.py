"""Segmentors; there where mmseg is installed."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmseg') is not None:
    from mmlayerwise.models.segmentors.overlap_tile_encoder_decoder import (
        OverlapTileEncoderDecoder,
    )

    __all__ += ['OverlapTileEncoderDecoder']
