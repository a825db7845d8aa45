"""Narrower and wider forms of plain networks."""

from torch import nn

from mmlayerwise.utils.errors import UserError


def scale_widths(layers: nn.Sequential, widen_factor: float) -> None:
    """Multiply the channels of every convolution by a factor, but not those of the image.

    Args:
        layers: Convolutions, batch normalisations, activations and poolings that run one after the
            other; convolutions and normalisations are replaced by new ones in place.
        widen_factor: Factor; the rounded numbers of channels are at least 1.

    Raises:
        UserError: If the factor is not positive.
    """
    if widen_factor <= 0:
        raise UserError(f'widen_factor must be positive, but is {widen_factor}')
    channels = None
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            in_channels = layer.in_channels if channels is None else channels
            channels = max(1, round(layer.out_channels * widen_factor))
            layers[number] = nn.Conv2d(
                in_channels,
                channels,
                layer.kernel_size,
                layer.stride,
                layer.padding,
                layer.dilation,
                bias=layer.bias is not None,
            )
        elif isinstance(layer, nn.BatchNorm2d):
            layers[number] = nn.BatchNorm2d(channels)
