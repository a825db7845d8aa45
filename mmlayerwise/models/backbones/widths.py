"""Narrower and wider forms of plain networks."""

import math

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
            layers[number] = _with_channels(layer, in_channels, channels)
        elif isinstance(layer, nn.BatchNorm2d):
            layers[number] = nn.BatchNorm2d(channels)


def scale_branches(network: nn.Module, widen_factor: float) -> None:
    """Multiply the channels of a network whose branches are concatenated.

    So that the branches still add up, a factor must leave every number of channels whole.

    Args:
        network: Its first convolution reads the image; convolutions and normalisations are replaced
            by new ones in place.
        widen_factor: Factor.

    Raises:
        UserError: If the factor is not positive, or leaves some number of channels broken.
    """
    numbers = {one.out_channels for one in network.modules() if isinstance(one, nn.Conv2d)}
    if widen_factor <= 0 or any((number * widen_factor) % 1 for number in numbers):
        step = math.gcd(*numbers)
        raise UserError(f'widen_factor must be a multiple of 1/{step}, but is {widen_factor}')
    image = next(one for one in network.modules() if isinstance(one, nn.Conv2d))
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                read = (
                    layer.in_channels if layer is image else round(layer.in_channels * widen_factor)
                )
                channels = round(layer.out_channels * widen_factor)
                setattr(parent, name, _with_channels(layer, read, channels))
            elif isinstance(layer, nn.BatchNorm2d):
                channels = round(layer.num_features * widen_factor)
                setattr(parent, name, nn.BatchNorm2d(channels, layer.eps, layer.momentum))


def _with_channels(layer: nn.Conv2d, in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels,
        out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        bias=layer.bias is not None,
    )
