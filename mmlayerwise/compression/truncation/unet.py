"""The rule for U-Nets whose encoder and decoder are one backbone."""

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
    parts = layer.split('.')
    if parts[0] != 'encoder' or len(parts) < 2:
        raise CompressionError(
            f'A U-Net cannot be cut behind {layer!r}; name a level of its encoder, encoder.0 to '
            f'encoder.{len(backbone.encoder) - 1}: the decoder is cut to match'
        )
    depth = int(parts[1]) + 1
    del backbone.encoder[depth:]
    del backbone.decoder[depth - 1 :]
    backbone.num_stages = depth
    return backbone
