"""Rules for backbones that are one chain of layers: VGG, SSD's VGG, AlexNet and GoogLeNet."""

from torch import nn

from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.truncation.stages import keep_outputs


def truncate_vgg(backbone: nn.Module, layer: str) -> nn.Module:
    """Cut mmcv's VGG behind a convolution with its normalisation, activation and pooling.

    Args:
        backbone: With ``features``, and ``range_sub_modules`` that tells the stages.
        layer: Of ``features``.

    Returns:
        The backbone; a stage that is cut inside stands in for those behind it.
    """
    last = _end_of_block(backbone, layer)
    stages = backbone.range_sub_modules
    stage = next(number for number, (_, end) in enumerate(stages) if last < end)
    del backbone.features[last + 1 :]
    backbone.range_sub_modules = [list(one) for one in stages[: stage + 1]]
    backbone.range_sub_modules[-1][1] = last + 1
    backbone.stage_blocks = backbone.stage_blocks[: stage + 1]
    keep_outputs(backbone, stage)
    backbone.frozen_stages = min(backbone.frozen_stages, stage + 1)
    return backbone


def truncate_segmentation_vgg(backbone: nn.Module, layer: str) -> nn.Module:
    """Cut this project's VGG for segmentation; fc6 and fc7 go.

    Args:
        backbone: With ``fc6`` and ``fc7``, which may be None.
        layer: Of ``features``.

    Returns:
        The backbone, whose last layer stands in for fc7.

    Raises:
        CompressionError: If a decoder counts on what would go.
    """
    if backbone.return_switches:
        raise CompressionError(
            f'{type(backbone).__name__} cannot be cut: a decoder mirrors all of it and unpools by '
            'the switches of every pooling. Its channels can be removed'
        )
    fc6 = backbone.fc6
    if fc6 is not None and fc6.conv.kernel_size[0] > 1 and not fc6.conv.padding[0]:
        raise CompressionError(
            f'{type(backbone).__name__} cannot be cut: fc6 takes rows and columns from its map, '
            'and the head is aligned to what is left. Take fc_padded=True, or remove channels only'
        )
    backbone.fc6 = backbone.fc7 = None
    return truncate_vgg(backbone, layer)


def truncate_ssd_vgg(backbone: nn.Module, layer: str) -> nn.Module:
    """Cut mmdet's VGG for SSD, whose detector reads two of its maps.

    Args:
        backbone: With ``features`` and ``out_feature_indices``.
        layer: Of ``features``.

    Returns:
        The backbone, whose last layer stands in for the second map.

    Raises:
        CompressionError: If the first map would go.
    """
    last = _end_of_block(backbone, layer)
    kept = [index for index in backbone.out_feature_indices if index < last]
    if len(kept) + 1 < len(backbone.out_feature_indices):
        raise CompressionError(
            f'SSD needs {len(backbone.out_feature_indices)} maps of its backbone: cut behind '
            f'features.{backbone.out_feature_indices[-2]}, not at {layer!r}'
        )
    del backbone.features[last + 1 :]
    kept += [last] * (len(backbone.out_feature_indices) - len(kept))
    backbone.out_feature_indices = tuple(kept)
    return backbone


def truncate_googlenet(backbone: nn.Module, layer: str) -> nn.Module:
    """Cut GoogLeNet behind one of its blocks.

    Args:
        backbone: This project's GoogLeNet.
        layer: A block or something in it.

    Returns:
        The backbone.

    Raises:
        CompressionError: If the cut is before the first block.
    """
    names = [name for name, _ in backbone.named_children()]
    blocks = [name for name in names if name.startswith('inception')]
    block = layer.split('.')[0]
    if block.startswith('maxpool') and names.index(block) > names.index(blocks[0]):
        block = names[names.index(block) - 1]
    if block not in blocks:
        raise CompressionError(
            f'GoogLeNet cannot be cut behind {layer!r}: at least {blocks[0]} has to stay'
        )
    for name in names[names.index(block) + 1 :]:
        delattr(backbone, name)
    keep_outputs(backbone, blocks.index(block))
    return backbone


def _end_of_block(backbone: nn.Module, layer: str) -> int:
    """Number of the last layer of the block: the one before the next convolution."""
    parts = layer.split('.')
    numbers = [name for name, _ in backbone.features.named_children()]
    if parts[0] != 'features' or len(parts) < 2 or parts[1] not in numbers:
        raise CompressionError(
            f'{type(backbone).__name__} cannot be cut behind {layer!r}; name one of its layers '
            f'features.0 to features.{numbers[-1]}'
        )
    last = numbers.index(parts[1])
    layers = list(backbone.features)
    while last + 1 < len(layers) and not isinstance(layers[last + 1], nn.Conv2d):
        last += 1
    return last
