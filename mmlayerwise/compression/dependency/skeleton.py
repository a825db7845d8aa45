"""Copies of a network to try things on."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlayerwise.compression.dependency.rearranging import TracedReorg, is_reorg
from mmlayerwise.compression.dependency.slicing import (
    is_deformable,
    is_l2_norm,
    is_locally_connected,
)


def skeleton_of(model: nn.Module) -> nn.Module:
    """Copy a network for trials: it can run, and all its parameters ask for gradients.

    Args:
        model: Any network; on the ``meta`` device the copy gets memory with arbitrary values.

    Returns:
        The copy, in evaluation mode, without frozen stages and without gradient checkpointing,
        through which nothing can be traced.
    """
    skeleton = copy.deepcopy(model)
    if any(parameter.is_meta for parameter in skeleton.parameters()):
        skeleton = skeleton.to_empty(device='cpu')
        with torch.no_grad():
            for tensor in (*skeleton.parameters(), *skeleton.buffers()):
                tensor.fill_(0.5)
    skeleton.eval()
    for module in skeleton.modules():
        if getattr(module, 'with_cp', False):
            module.with_cp = False
    return skeleton.requires_grad_(True)


def stand_ins(skeleton: nn.Module) -> nn.Module:
    """Replace modules that torch-pruning does not know by modules with the same dependencies.

    Args:
        skeleton: A copy of a network, changed in place.

    Returns:
        The copy: a deformable convolution is a plain one, whose offsets are no path of their own,
        and so is one that shares no weights between places; normalisation by the length of the
        feature vector is a batch normalisation; darknet's reorg layer is one operation; regions are
        pooled without interpolation.
    """
    reference = next(skeleton.parameters())
    for name, module in list(skeleton.named_modules()):
        with reference.device:  # a model may be built on the meta device
            plain = _stand_in(module)
        if plain is not None:
            owner, _, leaf = name.rpartition('.')
            plain = plain.eval().to(reference.dtype)
            setattr(skeleton.get_submodule(owner), leaf, plain)
    return skeleton


def _stand_in(module: nn.Module) -> nn.Module | None:
    """What stands for a module; None if it stands for itself."""
    if is_deformable(module):
        return nn.Conv2d(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.groups,
            bias=getattr(module, 'bias', None) is not None,
        )
    if is_locally_connected(module):
        side = module.kernel_size
        return nn.Conv2d(module.in_channels, module.out_channels, side, padding=side // 2)
    if is_l2_norm(module):
        return nn.BatchNorm2d(module.n_dims)
    if is_reorg(module):
        return TracedReorg(module)
    if is_roi_extractor(module) and not any(True for _ in module.parameters()):
        return _PooledRegions(module)
    return None


def is_roi_extractor(module: nn.Module) -> bool:
    """Whether a module cuts regions out of feature maps, as mmdet's for second stages do."""
    return hasattr(module, 'featmap_strides') and hasattr(module, 'roi_layers')


class _PooledRegions(nn.Module):
    """Gives every region the sum of all whole maps, whose channels are those of the region.

    Args:
        extractor: What cuts regions out of the map of one level each.
    """

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.num_inputs = extractor.num_inputs
        self.featmap_strides = extractor.featmap_strides
        self.output_size = extractor.roi_layers[0].output_size

    def forward(self, features: Sequence[Tensor], regions: Tensor) -> Tensor:
        """Pool the maps once and repeat the sum for every region."""
        pooled = sum(F.adaptive_avg_pool2d(one, self.output_size) for one in features)
        return pooled[regions[:, 0].long()]
