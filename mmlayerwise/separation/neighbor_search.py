"""Ranking pairs exactly, with more and more effort for the queries that stay open."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.separation.neighbor_blocks import BlockSearch, relative_error
from mmlayerwise.separation.neighbor_points import Cloud, Frame, chunk_rows, squared_distances


@dataclass(frozen=True)
class Ranking:
    """The neighbours found so far.

    Attributes:
        points: Where neighbours are sought.
        queries: Whose neighbours are sought; None for the points themselves.
        k: How many.
        memory: Bytes to work with.
        indices: int64 of shape (num_queries, k); -1 where there is none.
        distances: Float64 of the same shape; infinity where there is none.
    """

    points: Cloud
    queries: Cloud | None
    k: int
    memory: int
    indices: Tensor
    distances: Tensor

    @classmethod
    def of(cls, points: Cloud, queries: Cloud | None, k: int, memory: int) -> 'Ranking':
        """Nothing is found yet."""
        shape = len(points if queries is None else queries), k
        device = points.values.device
        indices = torch.full(shape, -1, device=device)
        distances = torch.full(shape, torch.inf, dtype=torch.float64, device=device)
        return cls(points, queries, k, memory, indices, distances)

    @property
    def itself(self) -> bool:
        """Whether the points are compared among themselves."""
        return self.queries is None

    @property
    def asked(self) -> Cloud:
        """The queries, whether given or the points themselves."""
        return self.points if self.queries is None else self.queries

    def everyone(self) -> Tensor:
        """Numbers of all queries."""
        return torch.arange(len(self.indices), device=self.indices.device)

    def between(self, query: Tensor, point: Tensor) -> Tensor:
        """Distances in float64 of pairs of a query and a point."""
        step = min(chunk_rows(self.points, self.memory), len(query))
        # Allocated once: fresh memory costs as much as the arithmetic.
        shape = step, self.points.dimension
        left, right = (cloud.values.new_empty(shape) for cloud in (self.asked, self.points))
        room = left.new_empty((2, *shape), dtype=torch.float64)
        found = room.new_empty(len(query))
        for start in range(0, len(query), max(1, step)):
            part = slice(start, start + step)
            count = len(query[part])
            found[part] = squared_distances(
                self.asked.take(query[part], out=left[:count]),
                self.points.take(point[part], out=right[:count]),
                room[:, :count],
            )
        return found.sqrt_()

    def rank(self, query: Tensor, point: Tensor) -> None:
        """Set the neighbours of queries from pairs that hold all that can be among them.

        Args:
            query: Numbers of the queries.
            point: Numbers of the points; those of one query ascend.
        """
        distances = self.between(query, point)
        # By query, then distance, then index: stable sorts from the last key to the first.
        order = distances.argsort(stable=True)
        order = order[query[order].argsort(stable=True)]
        query = query[order]
        place = torch.arange(len(query), device=query.device) - torch.searchsorted(query, query)
        kept = place < self.k
        query, place, order = query[kept], place[kept], order[kept]
        self.indices[query, place] = point[order]
        self.distances[query, place] = distances[order]

    def compare_directly(self, row: int) -> None:
        """Rank all points for one query."""
        vector = self.asked.rows(row, row + 1)
        step = chunk_rows(self.points, self.memory)
        exact = torch.cat(
            [
                squared_distances(vector, self.points.rows(start, start + step))
                for start in range(0, len(self.points), step)
            ]
        ).sqrt_()
        if self.points.groups is not None:
            everyone = slice(0, len(self.points))
            own = self.asked.groups_of(slice(row, row + 1))
            exact[self.points.groups_of(everyone) == own] = torch.inf
        if self.itself:
            exact[row] = torch.inf
        exact, order = exact.sort(stable=True)
        count = min(self.k, len(order))
        self.distances[row, :count] = exact[:count]
        self.indices[row, :count] = order[:count].masked_fill(exact[:count].isinf(), -1)


def settle(ranking: Ranking, frame: Frame, rows: Tensor, merge: bool = True) -> None:
    """Find the neighbours of the given queries.

    Args:
        ranking: Where to write them.
        frame: Shift and scale of the points.
        rows: int64: numbers of the queries.
        merge: Whether copies of points may be there.
    """
    if not len(ranking.points):
        return
    if relative_error(ranking.points.dimension, torch.float32) < 0.5:
        rows = _by_products(ranking, frame, rows, torch.float32)
    if merge and len(rows):
        rows = _among_distinct(ranking, frame, rows)
    if len(rows):
        rows = _by_products(ranking, frame, rows, torch.float64)
    for row in rows.tolist():
        ranking.compare_directly(row)


def _by_products(ranking: Ranking, frame: Frame, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Search by matrix products; returns the queries that stay open."""
    search = BlockSearch(
        ranking.points, ranking.queries, frame, ranking.k, dtype, len(rows), ranking.memory
    )
    still_open = [rows[:0]]
    for panel in rows.split(search.plan.panel):
        left, right, many = search.close_pairs(panel, search.minima(panel))
        ranking.rank(panel[left], right)
        still_open.append(panel[many])
    return torch.cat(still_open)


def _among_distinct(ranking: Ranking, frame: Frame, rows: Tensor) -> Tensor:
    """Search each vector once, if there are copies; returns the queries that stay open.

    The k nearest points are copies of the k nearest distinct ones, each of which has at least one
    copy; a query that is a point itself needs one more, its own vector.
    """
    points, wanted = ranking.points, ranking.k + ranking.itself
    first, owner = _distinct(points, ranking.memory)
    if len(first) == len(points):
        return rows
    asked = ranking.asked.subset(rows)
    asked_first, asked_owner = _distinct(asked, ranking.memory)
    found = Ranking.of(points.subset(first), asked.subset(asked_first), wanted, ranking.memory)
    settle(found, frame, found.everyone(), merge=False)
    # Copies of one vector lie together, in order of index.
    members = owner.argsort(stable=True)
    counts = owner.bincount(minlength=len(first))
    starts = counts.cumsum(0) - counts
    step = max(1, ranking.memory // (8 * 40 * wanted**2))
    place = torch.arange(wanted, device=rows.device)
    for part, own in zip(rows.split(step), asked_owner.split(step), strict=True):
        vector, distances = found.indices[own, :, None], found.distances[own, :, None]
        there = (vector >= 0) & (place < counts[vector])
        point = members[(starts[vector] + place).clamp(max=len(members) - 1)]
        if ranking.itself:
            there &= point != part[:, None, None]
        distances = distances.expand(point.shape).masked_fill(~there, torch.inf).flatten(1)
        point, order = point.flatten(1).sort(1)
        distances, by_distance = distances.gather(1, order).sort(dim=1, stable=True)
        point = point.gather(1, by_distance)[:, : ranking.k]
        distances = distances[:, : ranking.k]
        ranking.indices[part, : point.shape[1]] = point.masked_fill(distances.isinf(), -1)
        ranking.distances[part, : point.shape[1]] = distances
    return rows[:0]


def _distinct(cloud: Cloud, memory: int) -> tuple[Tensor, Tensor]:
    """The first of every vector and group, and which of these every point is a copy of.

    Equal keys are compared value by value; a chance agreement leaves a point unmerged.

    Returns:
        Ascending numbers of points, and for every point a position among these.
    """
    device = cloud.values.device
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, (cloud.dimension + 1,), generator=generator)
    weights = weights.to(device) * 2 + 1
    step = chunk_rows(cloud, memory)
    keys, everyone = [], torch.arange(len(cloud), device=device)
    for part in everyone.split(step):
        key = (_bits(cloud.take(part)) * weights[:-1]).sum(1)
        if cloud.groups is not None:
            key += cloud.groups_of(part) * weights[-1]
        keys.append(key)
    key = torch.cat(keys).unique(return_inverse=True)[1]
    lowest = everyone.new_full((len(cloud),), len(cloud)).scatter_reduce(0, key, everyone, 'amin')
    lowest = lowest[key]
    for part in everyone.split(step):
        same = (cloud.take(part) == cloud.take(lowest[part])).all(1)
        if cloud.groups is not None:
            same &= cloud.groups_of(part) == cloud.groups_of(lowest[part])
        lowest[part] = lowest[part].where(same, part)
    first = lowest.unique()
    return first, torch.searchsorted(first, lowest)


def _bits(values: Tensor) -> Tensor:
    """Mix the bits of numbers into int64, equal for equal numbers."""
    if values.is_floating_point():
        integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
        values = (values + 0.0).view(integer)  # the sum makes -0.0 the other zero
    values = values.long()
    return values ^ (values >> 32) ^ (values >> 17)
