"""In which order a layer's channels go: by separation index, by magnitude, at random."""

from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from mmlayerwise.compression.channel_groups import ChannelGroup
from mmlayerwise.compression.dependency.slicing import has_filters, is_locally_connected
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.reading import LayerSamples
from mmlayerwise.separation.selection import rank_features

CRITERIA = ('si', 'magnitude', 'random')


def importance(
    criterion: str,
    model: nn.Module,
    group: ChannelGroup,
    samples: LayerSamples | None = None,
    seed: int = 0,
) -> Tensor:
    """How important every channel of a group is.

    Args:
        criterion: ``'si'``: the index of the single map, or as ``'magnitude'`` where the maps hold
            no samples; ``'magnitude'``: the sum of the absolute weights of its filters (Li et al.,
            Pruning filters for efficient ConvNets, 2017); ``'random'``.
        model: The model.
        group: The channels.
        samples: The maps of the group's root, for ``'si'``.
        seed: For ``'random'``.

    Returns:
        float64 of shape (num_channels,).

    Raises:
        CompressionError: For an unknown criterion.
    """
    if criterion == 'si' and samples is not None:
        return rank_features(
            samples.features, samples.labels, groups=samples.groups, max_features=1
        ).alone
    if criterion in ('si', 'magnitude'):
        modules = dict(model.named_modules())
        return sum(_magnitude(modules[name]) for name in group.members)
    if criterion == 'random':
        generator = torch.Generator().manual_seed(seed + crc32(group.root.encode()))
        return torch.rand(group.num_channels, generator=generator, dtype=torch.float64)
    raise CompressionError(f'Unknown criterion {criterion!r}; there are {", ".join(CRITERIA)}')


def least_important_first(values: Tensor) -> list[int]:
    """Channels in the order in which they go; of equal ones the last goes first."""
    return values.flip(0).argsort(stable=True).neg().add(len(values) - 1).tolist()


def _magnitude(module: nn.Module) -> Tensor:
    weight = module.weight.detach().double().abs().cpu()
    if isinstance(module, _ConvTransposeNd) and module.groups == 1:
        weight = weight.transpose(0, 1)
    if is_locally_connected(module):
        weight = weight.transpose(0, 1)
    if has_filters(module):
        return weight.flatten(1).sum(1)
    raise CompressionError(f'{type(module).__name__} has no filters to weigh')
