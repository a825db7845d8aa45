"""The search behind greedy forward selection: which further feature raises an index most, exactly.

Squared distances add over features, D_{S+f} = D_S + D_f, so a candidate f costs one addition and a
row minimum instead of a new search. Three observations make even that rarely necessary:

- D_f >= 0: a point whose D_S alone exceeds the smallest D_{S+f} found so far is no neighbour. Each
  sample therefore keeps a list of its nearest points in S and the distance that all others reach at
  least; if the list's minimum is below it, the nearest neighbour is in the list. Lists stay valid
  while S grows, and are renewed when they leave too much open.
- The index needs no neighbour but its *gain*: is it a friend, or how near is its target? If all
  points within rounding error of the minimum have the same gain, the neighbour may stay open.
- What stays open bounds the candidate's index from above. Only candidates whose bound reaches the
  best index found so far are settled, by float64 differences.
"""

from collections.abc import Callable
from math import frexp

import torch
from torch import Tensor

from mmlayerwise.separation.neighbors import _full_precision
from mmlayerwise.separation.point_set import PointSet

Gain = Callable[[Tensor, Tensor], Tensor]
"""(rows (b,), columns (b, m)) -> what each column is worth as the row's neighbour, in [0, 1].

The sum over all rows must be exact in float64, so that equally good candidates tie.
"""

# Points in a sample's list, if the memory allows, and at least.
_LONGEST, _SHORTEST = 48, 12
# Values worked on at a time: a few MiB, which a processor's cache holds.
_BLOCK = 2**19
# Candidates settled together.
_SETTLED = 16
# A list is renewed when it leaves open more than this share of the candidates.
_STALE = 1 / 8
# Nearest listed points that may settle a row without a look at the others.
_LEADERS = 3
# Above this share of unsettled candidates all of a row's are looked at together.
_CROWDED = 1 / 4


class GreedySearch:
    """Grows a set of features by the candidate that gives the highest index.

    Args:
        features: Real, shape (num_samples, num_features, ...), finite; at least two samples.
        gain: What a neighbour is worth to a sample.
        groups: Integers of shape (num_samples,): samples of one group are no neighbours. Every
            sample must have one outside its group.
        max_memory: Bytes for lists and blocks beside three copies of the features.
        binary: Whether gains are 0 or 1, which saves passes over the blocks.
    """

    def __init__(
        self,
        features: Tensor,
        gain: Gain,
        groups: Tensor | None,
        max_memory: int,
        binary: bool = False,
    ) -> None:
        self.features = features.reshape(*features.shape[:2], -1)
        self.gain = gain
        self.groups = groups
        self.max_memory = max_memory
        self.binary = binary
        self.device = features.device
        self.num_samples, self.num_features, self.positions = self.features.shape
        small = features.is_floating_point() and features.dtype.itemsize <= 4
        self.dtype = torch.float32 if small else torch.float64
        largest = max(float(part.double().abs().max()) for part in self.features.split(256))
        # A power of two: exact, and squares neither overflow nor underflow in float32.
        self.scale = 2.0 ** -max(-1000, frexp(largest)[1])
        # Relative error of a float32 distance: each of its terms is positive.
        self.error = (self.positions + 8) * torch.finfo(torch.float32).eps
        self.tiny = self.num_features * self.positions * 2.0**-120

    def alone(self) -> Tensor:
        """Index of every single feature: float64 of shape (num_features,)."""
        total = self.features.new_zeros(self.num_features, dtype=torch.float64)
        everyone = torch.arange(self.num_samples, device=self.device)
        step = max(1, min(_BLOCK, self.max_memory // 64) // self.num_samples)
        width = max(1, _BLOCK // (self.num_samples * self.positions))
        with _full_precision(self.device.type), torch.no_grad():
            for features in range_parts(self.num_features, width):
                points = self._take(features)
                sets = [PointSet(values, self.groups) for values in points.unbind(2)]
                for rows in everyone.split(step):
                    gain = self.gain(rows, everyone.expand(len(rows), -1))
                    for feature, single in zip(features, sets, strict=True):
                        total[feature] += self._alone(single, rows, gain)
        return total / self.num_samples

    def _alone(self, single: PointSet, rows: Tensor, gain: Tensor) -> Tensor:
        """Sum of the rows' gains in one feature."""
        bounds = single.lower_bounds(rows)
        smallest, nearest = bounds.min(1, keepdim=True)
        # The true distance of the nearest by bound is an upper bound of the smallest distance.
        norms = single.norms[rows, None]
        limit = smallest + 2.02 * single.error * (norms + single.norms[nearest]) + 4 * self.tiny
        # Where no other point can be as near, the neighbour is certain.
        second = bounds.scatter_(1, nearest, torch.inf).amin(1, keepdim=True)
        is_open = (second <= limit)[:, 0]
        certain = gain.gather(1, nearest)[:, 0].masked_fill(is_open, 0)
        total = certain.sum(dtype=torch.float64)
        if is_open.any():
            limit = (limit + norms)[is_open, 0]
            total += self._settle(single, rows[is_open], None, limit).sum()
        return total

    def start(self, first: int, pool: list[int]) -> None:
        """Begin with one feature and the given candidates."""
        self.pool = list(pool)
        self.points = self._take(self.pool)
        per_point = 4 * self.num_samples * len(self.pool)
        length = self.max_memory // (2 * per_point)
        self.cached = length >= _SHORTEST
        length = min(length, _LONGEST) if self.cached else _LONGEST
        self.length = min(length, self.num_samples)
        shape = (self.num_samples, self.length)
        self.listed = torch.zeros(shape, dtype=torch.long, device=self.device)
        self.base = torch.zeros(shape, dtype=torch.float64, device=self.device)
        self.reach = self.base.new_zeros(self.num_samples)
        if self.cached:
            self.distances = self.base.new_empty((*shape, len(self.pool)), dtype=torch.float32)
        self.chosen = PointSet(self._take([first])[:, :, 0], self.groups)
        with _full_precision(self.device.type), torch.no_grad():
            self._renew(torch.arange(self.num_samples, device=self.device))

    def choose(self, feature: int, newcomer: int | None = None) -> None:
        """Add a candidate to the set; another feature may take its place among the candidates."""
        slot = self.pool.index(feature)
        for rows in self._row_slices():
            self.base[rows] += self._distances(rows, slice(slot, slot + 1))[:, :, 0]
        self.chosen.add(self.points[:, :, slot])
        if newcomer is None:
            last = len(self.pool) - 1
            self.pool[slot] = self.pool[last]
            self.pool.pop()
            self.points[:, :, slot] = self.points[:, :, last]
            self.points = self.points[:, :, :last]
            if self.cached:
                self.distances[:, :, slot] = self.distances[:, :, last]
                self.distances = self.distances[:, :, :last]
            return
        self.pool[slot] = newcomer
        self.points[:, :, slot] = self._take([newcomer])[:, :, 0]
        if self.cached:
            point = self.points[:, :, slot : slot + 1]
            for rows in self._row_slices():
                found = squared_distances(point, rows, self.listed[rows])
                self.distances[rows, :, slot] = found[:, :, 0].float()

    def best(self) -> tuple[int, float]:
        """Find the candidate with the highest index together with the chosen features.

        Returns:
            The feature, of equally good ones the lowest number, and the index.
        """
        with _full_precision(self.device.type), torch.no_grad():
            certain, bound, open_pairs = self._screen_all()
            ranked = sorted(zip((-bound).tolist(), self.pool, range(len(self.pool)), strict=True))
            winner = (1.0, -1)
            for start in range(0, len(ranked), _SETTLED):
                # Ordered by (index, feature): what can't come before the winner is left.
                group = [entry for entry in ranked[start : start + _SETTLED] if entry[:2] < winner]
                if not group:
                    break
                slots = torch.tensor([slot for *_, slot in group], device=self.device)
                rows = open_pairs[:, slots].any(1).nonzero()[:, 0]
                limit = self._limit(rows, slots)
                gains = self._settle(self.chosen, rows, self.points[:, :, slots], limit)
                total = certain[slots] + (gains * open_pairs[rows][:, slots]).sum(0)
                settled = zip((-total).tolist(), (entry[1] for entry in group), strict=True)
                winner = min(winner, *settled)
        return winner[1], -winner[0] / self.num_samples

    def _take(self, features: list[int] | range) -> Tensor:
        """The features as (num_samples, positions, len(features)), scaled."""
        index = torch.tensor(list(features), dtype=torch.long, device=self.device)
        values = self.features[:, index].transpose(1, 2).double() * self.scale
        return values.to(self.dtype).contiguous()

    def _row_slices(self) -> list[slice]:
        step = max(1, _BLOCK // (self.length * max(1, len(self.pool))))
        return [
            slice(start, min(start + step, self.num_samples))
            for start in range(0, self.num_samples, step)
        ]

    def _distances(self, rows: slice | Tensor, slots: slice | Tensor) -> Tensor:
        """Squared distances to the listed points in some candidates: (rows, length, slots)."""
        if self.cached:
            return self.distances[rows][:, :, slots]
        points = self.points[:, :, slots]
        return squared_distances(points, rows, self.listed[rows]).float()

    def _screen_all(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of certain gains and upper bound of each candidate; which pairs stay open."""
        dtype = torch.float32 if self.binary else torch.float64
        shape = (self.num_samples, len(self.pool))
        low = torch.empty(shape, dtype=dtype, device=self.device)
        high, unsettled = torch.empty_like(low), torch.empty_like(low, dtype=torch.bool)
        everyone = torch.arange(self.num_samples, device=self.device)
        for rows in everyone.split(max(1, _BLOCK // (_LEADERS * len(self.pool)))):
            gain, settled = self._settle_by_nearest(rows)
            low[rows] = high[rows] = gain[:, None].to(dtype)
            unsettled[rows] = ~settled
        crowded = unsettled.sum(1) > _CROWDED * len(self.pool)
        self._screen_rows(everyone[crowded], low, high)
        pairs = (unsettled & ~crowded[:, None]).nonzero()
        for part in pairs.split(max(1, _BLOCK // self.length)):
            rows, slots = part.unbind(1)
            low[rows, slots], high[rows, slots] = self._screen(rows, slots)
        stale = (low != high).sum(1) > _STALE * len(self.pool)
        if stale.any():
            self._renew(everyone[stale])
            self._screen_rows(everyone[stale], low, high)
        is_open = low != high
        bound = high.sum(0, dtype=torch.float64)
        return low.masked_fill_(is_open, 0).sum(0, dtype=torch.float64), bound, is_open

    def _settle_by_nearest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Gain of each row's nearest listed points, and for which candidates that is certain.

        A candidate moves the nearest points away, to u at most. Points that were farther than u
        before are no neighbours; if all that were nearer have the same gain, it is settled.

        Returns:
            Gains of shape (rows,) and bool of shape (rows, pool).
        """
        base = self.base[rows]
        gain = self.gain(rows, self.listed[rows])
        nearest = base.argmin(1, keepdim=True)
        own = gain.gather(1, nearest)
        others = base.masked_fill(gain == own, torch.inf).amin(1)
        edge = torch.minimum(others * (1 - 2 * self.error), self.reach[rows])
        count = min(_LEADERS, self.length)
        leaders = base.masked_fill(gain != own, torch.inf).topk(count, largest=False).indices
        if self.cached:
            value = self.distances[rows[:, None], leaders]
        else:
            listed = self.listed[rows].gather(1, leaders)
            value = squared_distances(self.points, rows, listed).float()
        value += base.gather(1, leaders).float()[:, :, None]
        limit = value.amin(1).double() * (1 + 3 * self.error) + 4 * self.tiny
        return own[:, 0], limit < edge[:, None]

    def _screen_rows(self, rows: Tensor, low: Tensor, high: Tensor) -> None:
        """Screen all candidates of some rows."""
        for part in rows.split(max(1, _BLOCK // (self.length * len(self.pool)))):
            low[part], high[part] = self._screen(part)

    def _screen(self, rows: Tensor, slots: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Lowest and highest gain the neighbour can have.

        Args:
            rows: Samples.
            slots: One candidate of each row; None: all candidates.

        Returns:
            Two tensors of shape (rows, pool), or (rows,) with ``slots``.
        """
        gain, base = self.gain(rows, self.listed[rows]), self.base[rows].float()
        if slots is None:
            gain, base = gain[:, :, None], base[:, :, None]
            distance = self._distances(rows, slice(None))
        elif self.cached:
            distance = self.distances[rows, :, slots]
        else:
            own = self.points[rows, :, slots]
            others = self.points[self.listed[rows], :, slots[:, None]]
            distance = (others - own[:, None]).square_().sum(2).float()
        if self.binary:
            low, high, smallest = _friend_or_not(distance, base, gain, self.error, self.tiny)
        else:
            value = distance + base
            smallest = value.amin(1)
            near = value <= (smallest * (1 + 3 * self.error) + 4 * self.tiny).unsqueeze(1)
            # Of the values' own type: where() is then a single pass.
            low = torch.where(near, gain, gain.new_tensor(2)).amin(1)
            high = torch.where(near, gain, gain.new_tensor(-1)).amax(1)
        reach = self.reach[rows] if slots is not None else self.reach[rows, None]
        outside = smallest.double() * (1 + 2 * self.error) + self.tiny >= reach
        return low.masked_fill_(outside, 0), high.masked_fill_(outside, 1)

    def _limit(self, rows: Tensor, slots: Tensor) -> Tensor:
        """Upper bound of the smallest distance of every row in the worst of some candidates."""
        parts = [
            (self._distances(part, slots) + self.base[part].float()[:, :, None]).amin(1).amax(1)
            for part in rows.split(max(1, _BLOCK // (self.length * len(self.pool))))
        ]
        limit = torch.cat(parts) if parts else self.base.new_empty(0)
        return limit.double() * (1 + 2 * self.error) + self.tiny

    def _bounded_rows(self, rows: Tensor) -> list[Tensor]:
        """Parts of rows whose lower bounds fit a quarter of the memory."""
        return list(rows.split(max(1, self.max_memory // (4 * 24 * self.num_samples))))

    def _renew(self, rows: Tensor) -> None:
        """List the nearest points anew."""
        width = max(self.chosen.values.shape[1], self.positions * len(self.pool))
        step = max(1, _BLOCK // (self.length * width))
        keep = min(self.length + 1, self.num_samples)
        for some in self._bounded_rows(rows):
            bounds, nearest = self.chosen.lower_bounds(some).topk(keep, largest=False)
            if self.length < self.num_samples:
                self.reach[some] = bounds[:, -1] + self.chosen.row_norms(some)[:, 0]
            else:
                self.reach[some] = torch.inf
            self.listed[some] = nearest[:, : self.length]
            for part in some.split(step):
                self.base[part] = self.chosen.distances(part, self.listed[part], self.dtype)
                if self.cached:
                    found = squared_distances(self.points, part, self.listed[part])
                    self.distances[part] = found.float()

    def _settle(
        self, chosen: PointSet, rows: Tensor, points: Tensor | None, limit: Tensor
    ) -> Tensor:
        """Exact gain of every row's neighbour in a set and one more feature each.

        Args:
            chosen: The set S.
            rows: Samples.
            points: Features of shape (num_samples, positions, features); None for S alone.
            limit: Upper bounds of the rows' smallest distances; farther points are left out.

        Returns:
            float64 of shape (rows, features), one column for S alone.
        """
        points = None if points is None else points.double()
        width = max(chosen.values.shape[1], 1 if points is None else points[0].numel())
        gains = limit.new_empty((len(rows), 1 if points is None else points.shape[2]))
        start = 0
        for some in self._bounded_rows(rows):
            bounds = chosen.lower_bounds(some)
            reach = limit[start : start + len(some), None] - chosen.row_norms(some)
            reach = (reach + reach.abs() * 2.0**-23).float()
            counts = (bounds <= reach).sum(1)
            # Rows with lists of like length go together.
            for part in like_parts(counts, width):
                columns = nearest_columns(bounds[part], int(counts[part].max()))
                value = chosen.distances(some[part], columns, torch.float64)[:, :, None]
                if points is not None:
                    value = value + squared_distances(points, some[part], columns)
                number = torch.arange(columns.shape[1], device=self.device)[:, None]
                smallest = value == value.amin(1, keepdim=True)
                first = torch.where(smallest, number, columns.shape[1]).amin(1)
                gains[start + part] = self.gain(some[part], columns.gather(1, first)).double()
            start += len(some)
        return gains


def _friend_or_not(
    distance: Tensor, base: Tensor, gain: Tensor, error: float, tiny: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Lowest and highest gain of the nearest points where gains are 0 or 1, and their distance."""
    friend = (distance + base.masked_fill(gain == 0, torch.inf)).amin(1)
    enemy = (distance + base.masked_fill(gain != 0, torch.inf)).amin(1)
    smallest = torch.minimum(friend, enemy)
    limit = smallest * (1 + 3 * error) + 4 * tiny
    return (enemy > limit).float(), (friend <= limit).float(), smallest


def like_parts(counts: Tensor, width: int) -> list[Tensor]:
    """Row numbers in parts of like counts, each within the block size at ``width`` values."""
    order = counts.argsort()
    sizes = counts[order].tolist()
    parts, start = [], 0
    while start < len(sizes):
        stop = start + 1
        while stop < len(sizes) and (stop + 1 - start) * sizes[stop] * width <= _BLOCK:
            stop += 1
        parts.append(order[start:stop])
        start = stop
    return parts


def nearest_columns(bounds: Tensor, count: int) -> Tensor:
    """Columns of the ``count`` smallest bounds of each row, ascending; all if these are many."""
    if 2 * count >= bounds.shape[1]:
        return torch.arange(bounds.shape[1], device=bounds.device).expand(len(bounds), -1)
    return bounds.topk(count, largest=False).indices.sort(1).values


def squared_distances(points: Tensor, rows: slice | Tensor, columns: Tensor) -> Tensor:
    """Squared distances in each feature: (rows, columns, features).

    Args:
        points: Shape (num_samples, positions, features).
        rows: Samples.
        columns: int64 of shape (rows, columns).
    """
    return (points[columns] - points[rows][:, None]).square_().sum(2)


def range_parts(stop: int, step: int) -> list[range]:
    """The numbers below ``stop`` in runs of ``step``."""
    return [range(start, min(start + step, stop)) for start in range(0, stop, step)]
