"""Class means that are the same to the bit in any order of the samples."""

from math import ceil, log2

import torch
import torch.distributed as dist
from torch import Tensor

from mmlayerwise.separation.distributed import world
from mmlayerwise.separation.neighbor_points import CPU_CHUNK


def class_centers(
    features: Tensor,
    members: Tensor,
    num_classes: int,
    max_memory: int,
    shared: bool = False,
) -> Tensor:
    """Mean of every class.

    The values are rounded to a common step, 2^(log2(num_samples) - 52) of the largest, before
    float64 adds them up without any rounding. So the means depend neither on the order of the
    samples nor on device, threads or processes.

    Args:
        features: Any real dtype, finite, shape (num_samples, dimension).
        members: int64 of shape (num_samples,): each sample's class, from 0 to ``num_classes`` - 1.
        num_classes: How many classes there are; each has a sample.
        max_memory: Bytes for the conversion.
        shared: Whether every process calls this with samples of its own, and the means are those
            of all of them.

    Returns:
        float64 of shape (num_classes, dimension), on the device of ``features``.
    """
    device = features.device
    memory = min(max_memory, CPU_CHUNK) if device.type == 'cpu' else max_memory
    step = max(1, memory // (16 * features.shape[1]))
    largest = torch.zeros((), dtype=torch.float64, device=device)
    for part in features.split(step) if len(features) else ():
        low, high = torch.aminmax(part)
        largest = torch.maximum(largest, torch.maximum(-low.double(), high.double()))
    counts = members.bincount(minlength=num_classes)
    if shared:
        largest, counts = _over_processes(largest, dist.ReduceOp.MAX), _over_processes(counts)
    sums = torch.zeros(num_classes, features.shape[1], dtype=torch.float64, device=device)
    if largest > 0:
        # The power of two that brings the values into [-1, 1].
        power = largest / torch.frexp(largest).mantissa
        rounding = 1.5 * 2.0 ** ceil(log2(max(2, int(counts.sum()))))
        for part, rows in zip(features.split(step), members.split(step), strict=True):
            sums.index_add_(0, rows, (part.double() / power).add_(rounding).sub_(rounding))
        sums = (_over_processes(sums) if shared else sums) * power
    return sums / counts[:, None]


def _over_processes(values: Tensor, operation: dist.ReduceOp = dist.ReduceOp.SUM) -> Tensor:
    """Reduce a tensor over all processes."""
    if world()[1] == 1:
        return values
    total = values.to('cuda' if dist.get_backend() == 'nccl' else 'cpu', copy=True)
    dist.all_reduce(total, operation)
    return total.to(values.device)
