"""Exact nearest neighbours in bounded memory.

The distance matrix is walked in blocks and never held. A block costs one float32 matrix product on
centred features. What the product says is only a *candidate* list: every entry carries a rigorous
error bound, and the candidates that the bound leaves open are ranked by float64 differences.
Queries whose candidates do not fit the list (clusters far apart, duplicates) are repeated with
float64 products, and what even these leave open is compared directly.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import frexp

import torch
from torch import Tensor

from mmlayerwise.plugins import hookimpl, installed_plugins
from mmlayerwise.separation.errors import SeparationError

DEFAULT_MEMORY = 256 * 2**20
# Candidates kept beside the k wanted ones before a query is repeated in float64.
SPARE_CANDIDATES = 15


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
    values, except where two distances agree to about 1e-12 relative.

    Args:
        features: Points of shape (num_points, dimension), any real dtype, on any device.
        k: How many neighbours.
        queries: Points of shape (num_queries, dimension) to look up among ``features``.
        groups: int64 of shape (num_points,); points of the query's own group (its image, say) are
            no neighbours.
        query_groups: The same for ``queries``.
        max_memory: Bytes that the working blocks may take beside inputs and result.
        backend: Which implementation searches; plugins can give others (see
            :mod:`mmlayerwise.plugins`), which answer for what they promise.

    Returns:
        Indices into ``features`` and distances, on the device of ``features``.

    Raises:
        SeparationError: If shapes disagree, ``k`` is not positive or a value is not finite.
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
    """Give the search of this module to the plugin manager."""
    return {'exact': exact_neighbors}


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
    search = _Search.prepare(features, k, queries, groups, query_groups, max_memory)
    indices = torch.full((search.num_queries, k), -1, device=features.device)
    squared = torch.full(
        (search.num_queries, k), torch.inf, dtype=torch.float64, device=features.device
    )
    with torch.no_grad(), _full_precision(features.device.type):
        everyone = torch.arange(search.num_queries, device=features.device)
        open_rows = search.solve(everyone, torch.float32, indices, squared)
        open_rows = search.solve(open_rows, torch.float64, indices, squared)
        for row in open_rows.tolist():
            search.solve_directly(row, indices, squared)
    return Neighbors(indices, squared.sqrt())


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


@dataclass
class _Search:
    """One search: the points, the shift and scale that make the products accurate, block sizes."""

    points: Tensor
    queries: Tensor
    itself: bool
    k: int
    groups: Tensor | None
    query_groups: Tensor | None
    shift: Tensor
    scale: float
    point_norms: Tensor
    query_norms: Tensor
    max_memory: int

    @classmethod
    def prepare(
        cls,
        points: Tensor,
        k: int,
        queries: Tensor | None,
        groups: Tensor | None,
        query_groups: Tensor | None,
        max_memory: int,
    ) -> '_Search':
        itself = queries is None
        queries = points if itself else queries.to(points.device)
        query_groups = groups if itself else query_groups
        rows = max(1, max_memory // (16 * points.shape[1]))
        # Cancellation grows with the norms: centre. Any shift is exact to one rounding of the
        # difference, so the mean needn't be.
        total = sum(block.double().sum(0) for block in points.split(rows))
        shift = total / max(1, len(points))
        largest = max(
            (
                (block.double() - shift).abs().max().item()
                for block in (*points.split(rows), *(() if itself else queries.split(rows)))
                if len(block)
            ),
            default=0.0,
        )
        if not largest < torch.inf:
            raise SeparationError('features hold NaN or infinite values.')
        # A power of two: exact, and squares neither overflow nor underflow in float32.
        scale = 2.0 ** -max(-1000, frexp(largest)[1])

        def norms(values: Tensor) -> Tensor:
            return torch.cat(
                [((block.double() - shift) * scale).square().sum(1) for block in values.split(rows)]
            )

        point_norms = norms(points)
        return cls(
            points,
            queries,
            itself,
            k,
            None if groups is None else groups.to(points.device),
            None if query_groups is None else query_groups.to(points.device),
            shift,
            scale,
            point_norms,
            point_norms if itself else norms(queries),
            max_memory,
        )

    @property
    def num_queries(self) -> int:
        return len(self.queries)

    def block_sizes(self, dtype: torch.dtype) -> tuple[int, int]:
        """Rows of a query block and of a point block that together stay within the memory.

        A block pair holds its product and a mask, both converted blocks with a float64
        intermediate, and the float64 differences of the candidates of a few queries.
        """
        element = torch.finfo(dtype).bits // 8
        dimension = self.points.shape[1]
        product = 3 * element + 2
        converted = element + 16
        budget = self.max_memory // 2
        size = max(1, int((budget / (product + 1)) ** 0.5))
        size = min(size, max(1, budget // (2 * converted * dimension)))
        query_rows = max(1, min(size, self.num_queries))
        point_rows = max(1, min(budget // (product * query_rows), len(self.points)))
        point_rows = max(1, min(point_rows, budget // (converted * dimension)))
        return query_rows, point_rows

    def convert(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        return ((values.double() - self.shift) * self.scale).to(dtype)

    def solve(self, rows: Tensor, dtype: torch.dtype, indices: Tensor, squared: Tensor) -> Tensor:
        """Fill the neighbours of the given queries; returns the rows that stay open."""
        query_rows, point_rows = self.block_sizes(dtype)
        still_open = [rows[:0]]
        for block in rows.split(query_rows):
            lower, candidates = self.candidates(block, dtype, point_rows)
            complete = self.rank(block, dtype, lower, candidates, indices, squared)
            still_open.append(block[~complete])
        return torch.cat(still_open)

    def relative_error(self, dtype: torch.dtype) -> float:
        """Bound c with |computed - true squared distance| <= c (|q|^2 + |p|^2).

        A dot product of d terms errs by at most d u |q||p| in any order of summation, which is
        below d u (|q|^2 + |p|^2) / 2; doubled, plus the rounding of both operands, of the norms and
        of the final sums. u is the unit roundoff.
        """
        unit = torch.finfo(dtype).eps / 2
        return 1.05 * (self.points.shape[1] + 16) * unit

    def candidates(
        self, block: Tensor, dtype: torch.dtype, point_rows: int
    ) -> tuple[Tensor, Tensor]:
        """The points with the smallest lower bounds of squared distance (less the query's norm)."""
        keep = self.k + SPARE_CANDIDATES
        error = self.relative_error(dtype)
        query = self.convert(self.queries[block], dtype)
        lower = query.new_full((len(block), 0), torch.inf)
        found = block.new_full((len(block), 0), -1)
        for start in range(0, len(self.points), point_rows):
            stop = min(start + point_rows, len(self.points))
            point = self.convert(self.points[start:stop], dtype)
            base = (self.point_norms[start:stop] * (1 - error)).to(dtype)
            bound = torch.addmm(base, query, point.T, alpha=-2)
            self.exclude(bound, block, start, stop)
            best, column = bound.topk(min(keep, stop - start), largest=False, sorted=False)
            lower = torch.cat([lower, best], 1)
            found = torch.cat([found, column + start], 1)
            if lower.shape[1] > keep:
                lower, order = lower.topk(keep, largest=False, sorted=False)
                found = found.gather(1, order)
        return lower.double(), found

    def exclude(self, bound: Tensor, block: Tensor, start: int, stop: int) -> None:
        if self.groups is not None:
            same = self.query_groups[block, None] == self.groups[None, start:stop]
            bound.masked_fill_(same, torch.inf)
        if self.itself:
            row = ((block >= start) & (block < stop)).nonzero()[:, 0]
            bound[row, block[row] - start] = torch.inf

    def rank(
        self,
        block: Tensor,
        dtype: torch.dtype,
        lower: Tensor,
        candidates: Tensor,
        indices: Tensor,
        squared: Tensor,
    ) -> Tensor:
        """Rank candidates by float64 differences; returns which queries are certain."""
        error = self.relative_error(dtype)
        # Only what may be among the k nearest: lower bound up to the k-th smallest upper bound.
        spread = (self.point_norms[candidates] + self.query_norms[block, None]) * (2 * error)
        spread += self.points.shape[1] * torch.finfo(dtype).tiny
        reach = (lower + spread).sort(1).values[:, : self.k].amax(1, keepdim=True)
        near = (lower <= reach) & ~lower.isinf()
        exact = torch.full_like(lower, torch.inf)
        row, column = near.nonzero(as_tuple=True)
        exact[row, column] = self.differences(block[row], candidates[row, column])
        candidates = candidates.masked_fill(lower.isinf(), -1)
        # By index, then stably by distance: the lowest index first among equal distances.
        candidates, order = candidates.sort(1)
        exact, order = exact.gather(1, order).sort(dim=1, stable=True)
        candidates = candidates.gather(1, order)
        found = min(self.k, candidates.shape[1])
        indices[block, :found] = candidates[:, :found]
        squared[block, :found] = exact[:, :found]
        if candidates.shape[1] >= len(self.points) or candidates.shape[1] < self.k:
            return torch.ones_like(block, dtype=torch.bool)
        # No point left out can be nearer than the largest lower bound kept.
        scaled = exact[:, self.k - 1] * self.scale**2
        left_out = lower.amax(1) + self.query_norms[block] * (1 - error)
        slack = 1 - 4 * self.points.shape[1] * torch.finfo(torch.float64).eps
        tiny = self.points.shape[1] * torch.finfo(dtype).tiny
        return (scaled < left_out * slack - tiny) | lower.amax(1).isinf()

    def differences(self, query: Tensor, point: Tensor) -> Tensor:
        """Squared distances in float64 of pairs of a query and a point."""
        step = max(1, self.max_memory // (2 * 24 * self.points.shape[1]))
        parts = [
            (self.points[right].double() - self.queries[left].double()).square_().sum(1)
            for left, right in zip(query.split(step), point.split(step), strict=True)
        ]
        return torch.cat(parts) if parts else self.point_norms[:0]

    def solve_directly(self, row: int, indices: Tensor, squared: Tensor) -> None:
        """One query against every point by float64 differences: for clusters of duplicates."""
        step = max(1, self.max_memory // (24 * self.points.shape[1]))
        query = self.queries[row].double()
        exact = torch.cat(
            [(part.double() - query).square_().sum(1) for part in self.points.split(step)]
        )
        if self.groups is not None:
            exact[self.groups == self.query_groups[row]] = torch.inf
        if self.itself:
            exact[row] = torch.inf
        squared[row], indices[row] = (part[: self.k] for part in exact.sort(dim=0, stable=True))
        indices[row][squared[row].isinf()] = -1
