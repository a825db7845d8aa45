"""The rules for U-Nets whose encoder and decoder are one backbone."""

from torch import nn

from mmlayerwise.compression.errors import CompressionError


def truncate_unet(backbone: nn.Module, layer: str) -> nn.Module:
    """Cut mmseg's U-Net behind a level of its encoder; the decoder loses the mirrored levels.

    Args:
        backbone: With ``encoder``, and ``decoder`` whose item i leads to level i of the encoder.
        layer: Of the encoder.

    Returns:
        The backbone. Its outputs are, as before, the deepest features and every level of the
        decoder up to the finest.

    Raises:
        CompressionError: If the layer is not in the encoder.
    """
    depth = _levels_kept(backbone, layer)
    del backbone.encoder[depth:]
    del backbone.decoder[depth - 1 :]
    backbone.num_stages = depth
    return backbone


def truncate_classic_unet(backbone: nn.Module, layer: str) -> nn.Module:
    """Cut the U-Net without padding, whose margin and tiles shrink with its depth.

    Args:
        backbone: With ``encoder``, and ``upsample`` and ``decoder`` that begin with the deepest
            level.
        layer: Of the encoder.

    Returns:
        The backbone.

    Raises:
        CompressionError: If the layer is not in the encoder, or nothing is left to decode.
    """
    depth = _levels_kept(backbone, layer)
    if depth < 2:
        raise CompressionError(
            f'{type(backbone).__name__} needs two levels; cut behind encoder.1 or later'
        )
    lost = backbone.num_stages - depth
    del backbone.encoder[depth:]
    del backbone.upsample[:lost]
    del backbone.decoder[:lost]
    backbone.num_stages = depth
    return backbone


def _levels_kept(backbone: nn.Module, layer: str) -> int:
    parts = layer.split('.')
    if parts[0] != 'encoder' or len(parts) < 2:
        raise CompressionError(
            f'A U-Net cannot be cut behind {layer!r}; name a level of its encoder, encoder.0 to '
            f'encoder.{len(backbone.encoder) - 1}: the decoder is cut to match'
        )
    return int(parts[1]) + 1
