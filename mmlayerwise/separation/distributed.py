"""Samples of several processes: gathered, or searched where they are."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY, Neighbors, nearest_neighbors


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
    on = _carrier()
    padded = torch.zeros((max(counts), *tail), dtype=dtype, device=on)
    if rows is not None:
        padded[: len(rows)] = rows.to(on)
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count].cpu() for part, count in zip(parts, counts, strict=True)])


def _carrier() -> torch.device:
    """Where tensors must be to be sent."""
    return torch.device('cuda' if dist.get_backend() == 'nccl' else 'cpu')


def gather_objects(item: Any) -> list[Any]:
    """What every process holds, in order of rank, on every process; small objects only."""
    size = world()[1]
    if size == 1:
        return [item]
    items: list[Any] = [None] * size
    dist.all_gather_object(items, item)
    return items


def sharded_neighbors(
    features: Tensor,
    k: int = 1,
    *,
    groups: Tensor | None = None,
    numbers: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    backend: str = 'exact',
) -> Neighbors:
    """Find the k nearest points among those of all processes, each keeping its own share.

    Blocks of the shares travel round the ring of processes, the next one on its way while one is
    searched. Every process calls this with its share, which may be of any size, none included. The
    result for a share is, to the last bit, the rows that :func:`nearest_neighbors` gives on one
    process for all points in the order of their numbers.

    Args:
        features: This process's points, shape (num_own, dimension), any real dtype.
        k: How many neighbours.
        groups: int64 of shape (num_own,); points of one group are no neighbours, on whichever
            process they are.
        numbers: int64 of shape (num_own,), ascending: the place of this process's points among all,
            each from 0 on taken once; by default they are numbered through in order of rank.
        max_memory: Bytes for the search and for the two travelling blocks, on every process.
        backend: Which implementation searches, see :func:`nearest_neighbors`.

    Returns:
        Neighbours of this process's points by their numbers, on the device of ``features``.

    Raises:
        SeparationError: On every process, if the shares disagree in dimension, dtype or in having
            groups, or where the search of one fails; otherwise as :func:`nearest_neighbors`.
    """
    rank, size = world()
    if size == 1:
        return nearest_neighbors(features, k, groups=groups, max_memory=max_memory, backend=backend)
    shares = gather_objects(_describe(features, k, groups, max_memory))
    _check_shares(shares)
    counts = [share['shape'][0] for share in shares]
    points = features.detach().contiguous()
    if numbers is None:
        numbers = torch.arange(counts[rank]) + sum(counts[:rank])
    numbers = numbers.to(points.device, torch.int64).contiguous()
    ids = None if groups is None else groups.to(points.device, torch.int64).contiguous()
    search = dict(max_memory=max_memory // 2, backend=backend)
    failure = None
    try:
        found = _numbered(nearest_neighbors(points, k, groups=ids, **search), numbers)
    except SeparationError as error:
        failure = str(error)
    raise_everywhere(failure)
    rows = _travelling_rows(shares)
    for start in range(0, max(counts), rows):
        blocks = [max(0, min(rows, count - start)) for count in counts]
        own = slice(start, start + blocks[rank])
        ring = _travel([points[own], numbers[own], None if ids is None else ids[own]], blocks)
        for block, block_numbers, block_ids in ring:
            if failure or not len(block) or not len(points):
                continue
            try:
                part = nearest_neighbors(
                    block, k, queries=points, groups=block_ids, query_groups=ids, **search
                )
                found = _merge(found, _numbered(part, block_numbers))
            except SeparationError as error:
                # The blocks go on travelling: without this process the others would wait for ever.
                failure = str(error)
    raise_everywhere(failure)
    return found


def raise_everywhere(failure: str | None) -> None:
    """Raise the first failure of any process on all of them."""
    failed = [one for one in gather_objects(failure) if one]
    if failed:
        raise SeparationError(failed[0])


def _describe(features: Tensor, k: int, groups: Tensor | None, max_memory: int) -> dict[str, Any]:
    return dict(
        shape=tuple(features.shape),
        dtype=features.dtype,
        k=k,
        groups=None if groups is None else tuple(groups.shape),
        max_memory=max_memory,
    )


def _check_shares(shares: list[dict[str, Any]]) -> None:
    for number, share in enumerate(shares):
        for name, own, first in (
            ('features of shape', share['shape'][1:], shares[0]['shape'][1:]),
            ('features of dtype', share['dtype'], shares[0]['dtype']),
            ('k', share['k'], shares[0]['k']),
            ('groups', share['groups'] is not None, shares[0]['groups'] is not None),
        ):
            if own != first:
                raise SeparationError(
                    f'The processes must search alike, but process {number} has {name} {own}, '
                    f'process 0 has {first}.'
                )
        if len(share['shape']) != 2:
            raise SeparationError(
                'features must have the shape (num_points, dimension), got '
                f'{share["shape"]} on process {number}.'
            )


def _travelling_rows(shares: list[dict[str, Any]]) -> int:
    """How many points travel together: two such blocks take half of the least memory."""
    memory = min(share['max_memory'] for share in shares)
    element = torch.empty(0, dtype=shares[0]['dtype']).element_size()
    return max(1, memory // (4 * (element * shares[0]['shape'][1] + 16)))


def _travel(block: list[Tensor | None], counts: list[int]) -> Iterator[list[Tensor | None]]:
    """Pass blocks round the ring; yields each other process's block.

    Args:
        block: This process's tensors, each None on all processes or on none.
        counts: Rows of every process's block.
    """
    rank, size = world()
    behind, ahead = (rank - 1) % size, (rank + 1) % size
    home = block[0].device
    on = _carrier()
    block = [None if part is None else part.to(on).contiguous() for part in block]
    for step in range(1, size):
        source = (rank - step) % size
        coming = [
            None if part is None else part.new_empty((counts[source], *part.shape[1:]))
            for part in block
        ]
        waiting = _exchange(block, ahead, coming, behind)
        if step > 1:
            yield [None if part is None else part.to(home) for part in block]
        for work in waiting:
            work.wait()
        block = coming
    yield [None if part is None else part.to(home) for part in block]


def _exchange(
    going: list[Tensor | None], ahead: int, coming: list[Tensor | None], behind: int
) -> list[dist.Work]:
    # As bytes: not every backend sends every dtype. Empty blocks stay where they are.
    operations = [
        dist.P2POp(operation, part.view(-1).view(torch.uint8), peer)
        for operation, parts, peer in ((dist.isend, going, ahead), (dist.irecv, coming, behind))
        for part in parts
        if part is not None and part.numel()
    ]
    return dist.batch_isend_irecv(operations) if operations else []


def _numbered(found: Neighbors, numbers: Tensor) -> Neighbors:
    """Name the points by their numbers instead of their rows; -1 stays."""
    # The last entry is what -1 points at.
    names = torch.cat([numbers, numbers.new_full((1,), -1)])
    return Neighbors(names[found.indices], found.distances)


def _merge(left: Neighbors, right: Neighbors) -> Neighbors:
    """The k nearest of both, the lowest number first among equal distances."""
    k = left.indices.shape[1]
    indices = torch.cat([left.indices, right.indices], 1)
    distances = torch.cat([left.distances, right.distances], 1)
    indices, order = indices.sort(1)
    distances, by_distance = distances.gather(1, order).sort(dim=1, stable=True)
    return Neighbors(indices.gather(1, by_distance)[:, :k], distances[:, :k])
