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
    for name, module in list(skeleton.named_modules()):
        if is_deformable(module):
            plain = nn.Conv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
                bias=getattr(module, 'bias', None) is not None,
            )
        elif is_locally_connected(module):
            plain = nn.Conv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                padding=module.kernel_size // 2,
            )
        elif is_l2_norm(module):
            plain = nn.BatchNorm2d(module.n_dims)
        elif is_reorg(module):
            plain = TracedReorg(module)
        elif is_roi_extractor(module) and not any(True for _ in module.parameters()):
            plain = _PooledRegions(module)
        else:
            continue
        reference = next(skeleton.parameters())
        owner, _, leaf = name.rpartition('.')
        plain = plain.eval().to(reference.device, reference.dtype)
        setattr(skeleton.get_submodule(owner), leaf, plain)
    return skeleton


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
