"""Which pairs of points can be neighbours, from blocks of matrix products with an error bound.

The points are divided into buckets of consecutive ones. A first walk over the distance matrix keeps
the smallest lower bound of a squared distance per query and bucket; points compared among
themselves need only half of the matrix, each block serving its rows and its columns. From these
minima follows how far a query's neighbours can be at most, and a second walk over the few buckets
within that reach finds the pairs in question.
"""

from dataclasses import dataclass
from math import isqrt, sqrt

import torch
from torch import Tensor

from mmlayerwise.separation.neighbor_points import (
    Cloud,
    Frame,
    Placed,
    as_queries,
    chunk_bytes,
    chunk_rows,
    padded_width,
)

# Rows of a block: on the CPU it stays near the cores while its minima are taken. Of a half of the
# matrix, the blocks on the diagonal are computed whole: they are to be a small part of it.
LARGEST_TILE = {'cpu': 1024}
LARGEST_TILE_ELSEWHERE = 8192
# Points that are so few need not be divided into eight tiles.
SMALLEST_DIVISION = 256
SMALLEST_TILE = 8
SMALLEST_BUCKET = 32
# Pairs in question beside the k wanted ones before a query is left to higher precision.
SPARE_PAIRS = 64


@dataclass(frozen=True)
class Plan:
    """Sizes that together stay within the memory.

    Attributes:
        tile: Rows and columns of a block.
        bucket: Points of a bucket; divides ``tile``.
        panel: Queries handled at once.
        limit: Pairs in question of a query.
        hold: Whether the converted points are held.
        symmetric: Whether each block serves rows and columns.
    """

    tile: int
    bucket: int
    panel: int
    limit: int
    hold: bool
    symmetric: bool

    @classmethod
    def make(
        cls, points: Cloud, num_queries: int, k: int, dtype: torch.dtype, memory: int, itself: bool
    ) -> 'Plan':
        """Divide the memory.

        An eighth is for a block, three for the points multiplied, two for the minima and one for
        the pairs.
        """
        element = torch.finfo(dtype).bits // 8
        num_points, dimension = max(1, len(points)), padded_width(points.dimension)
        copy = num_points * dimension * element
        hold = copy <= memory * 0.7
        rest = memory - copy if hold else memory
        largest = LARGEST_TILE.get(points.values.device.type, LARGEST_TILE_ELSEWHERE)
        if itself:
            largest = min(largest, max(SMALLEST_DIVISION, num_points // 8))
        size = isqrt(rest // (8 * (element + 2)))
        # Queries as they are and made ready for the product, and the points if they aren't held.
        factors = 2 if hold else 3
        size = min(size, 3 * rest // (8 * factors * dimension * element), largest)
        tile = _power_of_two(max(SMALLEST_TILE, size))
        # Small buckets make the first walk's result long, large ones make the second walk long.
        bucket = _power_of_two(max(SMALLEST_BUCKET, 1.5 * 16 * sqrt(num_points / (k * dimension))))
        bucket = min(bucket, tile)
        needed = 4 * num_points**2 * element // max(1, rest)
        shared = bucket
        while shared < needed and shared < tile:
            shared *= 2
        symmetric = (
            itself
            and num_queries == num_points
            and shared >= needed
            and (shared == bucket or 32 * shared <= num_points)
        )
        spare = min(SPARE_PAIRS, max(8, rest // (8 * 32 * num_points)))
        limit = k + (spare if symmetric else SPARE_PAIRS)
        if symmetric:
            return cls(tile, shared, num_points, limit, hold, True)
        num_buckets = -(-num_points // bucket)
        panel = min(rest // (4 * element * num_buckets), rest // (8 * 32 * limit))
        return cls(tile, bucket, max(tile, panel), limit, hold, False)


def relative_error(dimension: int, dtype: torch.dtype) -> float:
    """Bound c with |computed - true squared distance| <= c (|q|² + |p|²).

    The computed value is one dot product of d + 2 terms: those of -2 q·p, |q|² and |p|². In any
    order of summation it errs by at most (d + 2) u / (1 - (d + 2) u) times the sum of their
    magnitudes, which is below 2 (|q|² + |p|²). To this come the roundings of both operands and of
    the norms. u is the unit roundoff.
    """
    rounding = (dimension + 16) * torch.finfo(dtype).eps / 2
    return 2.1 * rounding / (1 - rounding) if rounding < 0.25 else float('inf')


class PairList:
    """Pairs of a query and a point, without those of queries that have too many.

    Args:
        rows: int64: numbers of the queries.
        limit: How many pairs a query may have.
        itself: Whether queries are points, none of which pairs with itself.
    """

    def __init__(self, rows: Tensor, limit: int, itself: bool) -> None:
        self.rows, self.limit, self.itself = rows, limit, itself
        self.left, self.right = [rows[:0]], [rows[:0]]
        self.size = 0
        self.many = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)

    def add(self, left: Tensor, right: Tensor) -> None:
        """Take pairs of a position in ``rows`` and a point's number."""
        self.left.append(left)
        self.right.append(right)
        self.size += len(left)
        # Sieving costs as much as what it sieves, so the list may grow to twice its final length.
        if self.size > 2 * self.limit * len(self.rows):
            self._sieve()

    def finish(self) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs, and a bool mask of shape (num_rows,) of the queries with too many."""
        self._sieve()
        return self.left[0], self.right[0], self.many

    def _sieve(self) -> None:
        left, right = torch.cat(self.left), torch.cat(self.right)
        kept = ~self.many[left]
        if self.itself:
            kept &= self.rows[left] != right
        left, right = left[kept], right[kept]
        crowded = left.bincount(minlength=len(self.rows)) > self.limit
        if crowded.any():
            self.many |= crowded
            kept = ~crowded[left]
            left, right = left[kept], right[kept]
        self.left, self.right, self.size = [left], [right], len(left)


class BlockSearch:
    """The pairs of queries and points that can be among the k nearest.

    Args:
        points: Where neighbours are sought.
        queries: Whose neighbours are sought; None for the points themselves, of which none is its
            own neighbour.
        frame: Shift and scale.
        k: How many neighbours.
        dtype: Of the products, float32 or float64.
        num_rows: For how many queries.
        memory: Bytes.
    """

    def __init__(
        self,
        points: Cloud,
        queries: Cloud | None,
        frame: Frame,
        k: int,
        dtype: torch.dtype,
        num_rows: int,
        memory: int,
    ) -> None:
        self.k, self.dtype, self.memory = k, dtype, memory
        self.itself = queries is None
        self.plan = Plan.make(points, num_rows, k, dtype, memory, self.itself)
        step = chunk_rows(points, memory)
        self.error = relative_error(points.dimension, dtype)
        # Products of tiny numbers may underflow, term by term.
        self.tiny = 4 * points.dimension * torch.finfo(dtype).tiny
        take_off = dict(error=self.error, tiny=self.tiny)
        self.points = Placed(points, frame, dtype, self.plan.hold, step, **take_off)
        self.queries = (
            self.points if self.itself else Placed(queries, frame, dtype, False, step, **take_off)
        )
        bucket = self.plan.bucket
        norms = torch.nn.functional.pad(self.points.norms, (0, -len(points) % bucket))
        self.bucket_norms = norms.view(-1, bucket).amax(1)
        self.buffer = self.points.norms.new_empty(self.plan.tile**2, dtype=dtype)

    def minima(self, rows: Tensor) -> Tensor:
        """Smallest lower bound of a squared distance, per query and bucket.

        Args:
            rows: int64: numbers of the queries.

        Returns:
            Shape (num_rows, num_buckets); infinity where a bucket holds no admitted point.
        """
        found = self.buffer.new_empty(len(rows), len(self.bucket_norms))
        if self.plan.symmetric:
            self._walk_half(found)
        else:
            self._walk(rows, found)
        return found

    def _walk(self, rows: Tensor, found: Tensor) -> None:
        bucket, tile, count = self.plan.bucket, self.plan.tile, len(self.points.cloud)
        for top in range(0, len(rows), tile):
            block = rows[top : top + tile]
            query = self._as_queries(self.queries.take(block))
            for start in range(0, count, tile):
                stop = min(start + tile, count)
                bound = self._bounds(query, block, start, stop)
                part = slice(start // bucket, -(-stop // bucket))
                found[top : top + tile, part] = _row_minima(bound, bucket)

    def _walk_half(self, found: Tensor) -> None:
        bucket, tile, count = self.plan.bucket, self.plan.tile, len(self.points.cloud)
        everyone = torch.arange(count, device=found.device)
        for top in range(0, count, tile):
            end = min(top + tile, count)
            query = self._as_queries(self.points.rows(top, end))
            upper = slice(top // bucket, -(-end // bucket))
            for start in range(top, count, tile):
                stop = min(start + tile, count)
                bound = self._bounds(query, everyone[top:end], start, stop, own=start == top)
                part = slice(start // bucket, -(-stop // bucket))
                found[top:end, part] = _row_minima(bound, bucket)
                if start > top:
                    found[start:stop, upper] = _column_minima(bound, bucket)

    def close_pairs(self, rows: Tensor, minima: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find all pairs that can be among the k nearest of their query.

        Args:
            rows: int64: numbers of the queries.
            minima: Their minima.

        Returns:
            Positions in ``rows`` and numbers of the points, pair by pair, those of a query in
            ascending order, and a bool mask of shape (num_rows,) of the queries that have too many
            such pairs; these have none here.
        """
        reach, hits, many = self._reach(rows, minima)
        # Bucket by bucket: its points are consecutive, so a block of them is one matrix product.
        hits = hits[hits[:, 1].argsort(stable=True)]
        counts = hits[:, 1].bincount(minlength=minima.shape[1]).tolist()
        pairs = PairList(rows, self.plan.limit, self.itself)
        size, total = self.plan.bucket, len(self.points.cloud)
        # No more entries than a block has.
        step = self.plan.tile
        for number, members in enumerate(hits[:, 0].split(counts)):
            start, stop = number * size, min((number + 1) * size, total)
            # The few points change places with the many queries, which need no copy then.
            point = self._as_queries(self.points.rows(start, stop)) if len(members) else None
            for row in members.split(step):
                block = rows[row]
                bound = self._bounds(self.queries.take(block), block, start, stop, point, own=False)
                row_hit, column = (bound <= reach[row, None]).nonzero(as_tuple=True)
                pairs.add(row[row_hit], column + start)
        left, right, crowded = pairs.finish()
        return left, right, many | crowded

    def _reach(self, rows: Tensor, minima: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far a query's neighbours can be, and the buckets within it.

        Returns:
            Upper bound of the k-th smallest squared distance, shape (num_rows,); pairs of a
            position in ``rows`` and a bucket, shape (num_pairs, 2); and a bool mask of shape
            (num_rows,) of the queries that have too many buckets, which have no pairs.
        """
        num_buckets = minima.shape[1]
        reach = torch.empty(len(rows), dtype=minima.dtype, device=rows.device)
        many = torch.empty(len(rows), dtype=torch.bool, device=rows.device)
        hits = [rows.new_empty(0, 2)]
        largest = torch.finfo(minima.dtype).max
        # The ranking rounds in float64, and so does the comparison in the dtype of the minima.
        slack = 1 + 8 * self.points.cloud.dimension * torch.finfo(torch.float64).eps
        slack *= 1 + 4 * torch.finfo(minima.dtype).eps
        step = max(1, chunk_bytes(rows.device, self.memory) // (8 * num_buckets))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            norms = self.queries.norms[rows[part], None] + self.bucket_norms
            upper = norms.mul_(2 * self.error).add_(minima[part])
            # k buckets hold k points.
            if self.k == 1:
                kth = upper.amin(1)
            elif self.k <= num_buckets:
                kth = upper.topk(self.k, largest=False).values.amax(1)
            else:
                kth = upper.new_full((len(upper),), torch.inf)
            kth = (kth + 4 * self.tiny) * slack
            reach[part] = kth.clamp(max=largest).to(minima.dtype)
            near = minima[part] <= reach[part, None]
            many[part] = near.sum(1, dtype=torch.int32) > self.plan.limit
            near &= ~many[part, None]
            found = near.nonzero()
            found[:, 0] += start
            hits.append(found)
        return reach, torch.cat(hits), many

    def _as_queries(self, rows: Tensor) -> Tensor:
        return as_queries(rows, self.points.cloud.dimension)

    def _bounds(
        self,
        query: Tensor,
        rows: Tensor,
        start: int,
        stop: int,
        point: Tensor | None = None,
        own: bool = True,
    ) -> Tensor:
        """Lower bounds of squared distances; infinity for pairs that are not admitted.

        Args:
            query: The queries, made ready by :func:`as_queries`; or as they are, with the points
                made ready instead.
            rows: Their numbers.
            start: First of the points.
            stop: Behind the last one.
            point: These points, if they are made ready.
            own: Whether a query can be among the points.
        """
        point = self.points.rows(start, stop) if point is None else point
        shape = len(query), stop - start
        bound = self.buffer[: shape[0] * shape[1]].view(shape)
        torch.mm(query, point.T, out=bound)
        if self.points.cloud.groups is not None:
            asked = self.queries.cloud.groups_of(rows)[:, None]
            other = self.points.cloud.groups_of(slice(start, stop))[None]
            # Groups are often consecutive (the pixels of an image): most blocks have none in both.
            disjoint = not len(asked) or asked.amin() > other.amax() or other.amin() > asked.amax()
            if not disjoint:
                bound.masked_fill_(asked == other, torch.inf)
        if self.itself and own:
            row = ((rows >= start) & (rows < stop)).nonzero()[:, 0]
            bound[row, rows[row] - start] = torch.inf
        return bound


def _row_minima(bound: Tensor, bucket: int) -> Tensor:
    missing = -bound.shape[1] % bucket
    if missing:
        bound = torch.nn.functional.pad(bound, (0, missing), value=torch.inf)
    return bound.view(len(bound), -1, bucket).amin(2)


def _column_minima(bound: Tensor, bucket: int) -> Tensor:
    missing = -len(bound) % bucket
    if missing:
        bound = torch.nn.functional.pad(bound, (0, 0, 0, missing), value=torch.inf)
    return bound.view(-1, bucket, bound.shape[1]).amin(1).T


def _power_of_two(number: float) -> int:
    """The largest power of two that is not above the number."""
    return 1 << (int(number).bit_length() - 1)
