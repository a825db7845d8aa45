"""Exact nearest neighbours in bounded memory.

The distance matrix is walked in blocks and never held. Float32 matrix products on centred points,
with a rigorous error bound, leave few pairs in question (:mod:`.neighbor_blocks`); these are ranked
by float64 differences. Queries that float32 leaves with too many are looked up among distinct
points only, then with float64 products, and at last compared with every point directly.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import psutil
import torch
from torch import Tensor

from mmlayerwise.plugins import hookimpl, installed_plugins
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.neighbor_points import Cloud, Frame
from mmlayerwise.separation.neighbor_search import Ranking, settle

# Bytes: a small share of what is free, within what a search of usual size makes use of.
DEFAULT_MEMORY = min(max(psutil.virtual_memory().available // 16, 64 * 2**20), 2**30)
# Where even blocks of this size find no memory, smaller ones won't.
LEAST_MEMORY = 2**20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Neighbors:
    """Nearest neighbours of every query.

    Attributes:
        indices: int64 of shape (num_queries, k), nearest first; -1 where fewer than k points are
            admitted.
        distances: float64 of shape (num_queries, k), Euclidean; infinity beside an index of -1.
    """

    indices: Tensor
    distances: Tensor


def nearest_neighbors(
    features: Tensor,
    k: int = 1,
    *,
    queries: Tensor | None = None,
    groups: Tensor | None = None,
    query_groups: Tensor | None = None,
    max_memory: int = DEFAULT_MEMORY,
    backend: str = 'exact',
) -> Neighbors:
    """Find the k nearest points of every query, exactly.

    Without ``queries`` the points are compared among themselves and no point is its own neighbour;
    the point is excluded by its index, so an identical other point counts. Equal distances are
    ordered by index, the lowest first. The result is that of a float64 brute force on the given
    values, except where two distances agree to about 1e-12 relative; it does not depend on the
    memory, on the number of threads, or on which queries are asked together.

    Args:
        features: Points of shape (num_points, dimension), any real dtype, on any device.
        k: How many neighbours.
        queries: Points of shape (num_queries, dimension) to look up among ``features``.
        groups: int64 of shape (num_points,); points of the query's own group (its image, say) are
            no neighbours.
        query_groups: The same for ``queries``.
        max_memory: Bytes that the working blocks may take beside inputs and result; by default a
            sixteenth of what was free, at most 1 GiB. At least a few rows are taken. Where the
            device has less, smaller blocks are tried, with a warning.
        backend: Which implementation searches: ``'exact'``, ``'faiss'`` where faiss is installed
            (the same result; its index holds a float32 copy of the points beside ``max_memory``),
            or one of a plugin (see :mod:`mmlayerwise.plugins`), which answers for what it promises.

    Returns:
        Indices into ``features`` and distances, on the device of ``features``.

    Raises:
        SeparationError: If shapes disagree, ``k`` is not positive, a value is not finite or the
            device has no memory for the smallest blocks.
        UserError: If there is no such backend; those there are are listed.
    """
    _check(features, k, queries, groups, query_groups)
    search = installed_plugins().look_up('neighbor_backends', backend)
    return search(
        features,
        k,
        queries=queries,
        groups=groups,
        query_groups=query_groups,
        max_memory=max_memory,
    )


@hookimpl
def neighbor_backends() -> dict[str, Callable[..., Neighbors]]:
    """Give the searches of this package to the plugin manager."""
    backends = {'exact': exact_neighbors}
    if find_spec('faiss') is not None:
        backends['faiss'] = faiss_neighbors
    return backends


def exact_neighbors(
    features: Tensor,
    k: int,
    *,
    queries: Tensor | None,
    groups: Tensor | None,
    query_groups: Tensor | None,
    max_memory: int,
) -> Neighbors:
    """Search as the head of this module says; arguments as :func:`nearest_neighbors`, checked."""
    points, asked = _clouds(features, queries, groups, query_groups)

    def search(memory: int) -> Ranking:
        frame = Frame.of([points] if asked is None else [points, asked], memory)
        ranking = Ranking.of(points, asked, k, memory)
        settle(ranking, frame, ranking.everyone())
        return ranking

    return _within_memory(search, max_memory, features.device)


def faiss_neighbors(
    features: Tensor,
    k: int,
    *,
    queries: Tensor | None,
    groups: Tensor | None,
    query_groups: Tensor | None,
    max_memory: int,
) -> Neighbors:
    """Let faiss propose neighbours and settle by ourselves what its precision leaves open."""
    from mmlayerwise.separation.neighbor_faiss import propose

    points, asked = _clouds(features, queries, groups, query_groups)

    def search(memory: int) -> Ranking:
        frame = Frame.of([points] if asked is None else [points, asked], memory)
        ranking = Ranking.of(points, asked, k, memory)
        settle(ranking, frame, propose(ranking, frame))
        return ranking

    return _within_memory(search, max_memory, features.device)


def _clouds(
    features: Tensor,
    queries: Tensor | None,
    groups: Tensor | None,
    query_groups: Tensor | None,
) -> tuple[Cloud, Cloud | None]:
    device = features.device
    points = Cloud(features.detach(), None if groups is None else groups.to(device))
    if queries is None:
        return points, None
    query_groups = None if query_groups is None else query_groups.to(device)
    return points, Cloud(queries.detach().to(device), query_groups)


def _within_memory(
    search: Callable[[int], Ranking], memory: int, device: torch.device
) -> Neighbors:
    """Search with less and less memory until the device has enough."""
    with torch.no_grad(), _full_precision(device.type):
        while True:
            try:
                ranking = search(memory)
                return Neighbors(ranking.indices, ranking.distances)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0]
            # Outside of the handler, which keeps the failed search's tensors alive.
            if memory <= LEAST_MEMORY:
                raise SeparationError(
                    f'{device} has no memory left for a neighbour search, not even for blocks of '
                    f'{memory / 2**20:.3g} MiB ({reason}). Free some, measure fewer samples, or '
                    'put the features on the CPU.'
                )
            memory = max(LEAST_MEMORY, memory // 2)
            logger.warning(
                'The neighbour search ran out of memory on %s; trying again with blocks of %.3g '
                'MiB.',
                device,
                memory / 2**20,
            )
            if device.type == 'cuda':
                torch.cuda.empty_cache()


def move_features(features: Tensor, device: torch.device) -> Tensor:
    """Bring features to a device; they stay where they are, with a warning, if they don't fit."""
    try:
        return features.to(device)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    logger.warning(
        '%s has no memory for %.3g MiB of features; their neighbours are searched on %s.',
        device,
        features.nbytes / 2**20,
        features.device,
    )
    return features


def _is_out_of_memory(error: RuntimeError) -> bool:
    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or 'DefaultCPUAllocator' in str(error)


def _check(
    features: Tensor,
    k: int,
    queries: Tensor | None,
    groups: Tensor | None,
    query_groups: Tensor | None,
) -> None:
    if k < 1:
        raise SeparationError(f'k must be at least 1, got {k}.')
    for name, points in (('features', features), ('queries', queries)):
        if points is None:
            continue
        if points.ndim != 2 or points.shape[1] == 0:
            raise SeparationError(
                f'{name} must have the shape (num_points, dimension), got {tuple(points.shape)}.'
            )
        if points.is_complex():
            raise SeparationError(f'{name} must be real, got {points.dtype}.')
    if queries is not None and queries.shape[1] != features.shape[1]:
        raise SeparationError(
            f'queries have {queries.shape[1]} dimensions, features have {features.shape[1]}.'
        )
    if queries is not None and (groups is None) != (query_groups is None):
        raise SeparationError('groups and query_groups go together when queries are given.')
    for name, ids, points in (
        ('groups', groups, features),
        ('query_groups', query_groups, queries),
    ):
        if ids is not None and (points is None or ids.shape != points.shape[:1]):
            raise SeparationError(f'{name} must hold one number a point, got {tuple(ids.shape)}.')


@contextmanager
def _full_precision(device_type: str) -> Iterator[None]:
    """Keep TF32, bfloat16 products and autocast out: the error bound counts on true float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
