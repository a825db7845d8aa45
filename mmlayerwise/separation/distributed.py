"""Gathering samples of all processes, so that each index is that of one process."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) without ``torch.distributed``."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_rows(rows: Tensor | None) -> Tensor | None:
    """Concatenate the rows that the processes hold, in order of rank, on every process.

    Args:
        rows: Shape (num_rows, ...), equal but for the number of rows; None where there are none.

    Returns:
        All rows on the CPU; None if no process has any.
    """
    size = world()[1]
    if size == 1:
        return None if rows is None else rows.cpu()
    known = gather_objects(None if rows is None else (tuple(rows.shape), rows.dtype))
    present = [shape for shape in known if shape is not None]
    if not present:
        return None
    (_, *tail), dtype = present[0]
    counts = [0 if one is None else one[0][0] for one in known]
    on = torch.device('cuda' if dist.get_backend() == 'nccl' else 'cpu')
    padded = torch.zeros((max(counts), *tail), dtype=dtype, device=on)
    if rows is not None:
        padded[: len(rows)] = rows.to(on)
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count].cpu() for part, count in zip(parts, counts, strict=True)])


def gather_objects(item: Any) -> list[Any]:
    """What every process holds, in order of rank, on every process; small objects only."""
    size = world()[1]
    if size == 1:
        return [item]
    items: list[Any] = [None] * size
    dist.all_gather_object(items, item)
    return items
