"""Points as the neighbour search reads them: raw for comparing, centred and scaled for products."""

from dataclasses import dataclass
from math import frexp, inf

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError

# Bytes.
CPU_CHUNK = 4 * 2**20
# Values; rows that start at multiples of 16 bytes are multiplied faster.
ALIGNMENT = 4


@dataclass(frozen=True)
class Cloud:
    """Some rows of a tensor, without copying them.

    Attributes:
        values: Shape (num_rows, dimension), any real dtype.
        groups: int64 of shape (num_rows,), or None.
        index: int64: which rows, in this order; None for all.
    """

    values: Tensor
    groups: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values if self.index is None else self.index)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.values.shape[1]

    def rows(self, start: int, stop: int) -> Tensor:
        """Vectors of consecutive points."""
        if self.index is None:
            return self.values[start:stop]
        return self.values[self.index[start:stop]]

    def take(self, points: Tensor, out: Tensor | None = None) -> Tensor:
        """Vectors of the points of the given numbers."""
        rows = points if self.index is None else self.index[points]
        return torch.index_select(self.values, 0, rows, out=out)

    def groups_of(self, points: Tensor | slice) -> Tensor:
        """Groups of the points of the given numbers."""
        return self.groups[points if self.index is None else self.index[points]]

    def subset(self, points: Tensor) -> 'Cloud':
        """The points of the given numbers."""
        index = points if self.index is None else self.index[points]
        return Cloud(self.values, self.groups, index)


def chunk_bytes(device: torch.device, memory: int) -> int:
    """How much to work on at a time: little on the CPU, so that it stays in its cache."""
    return min(CPU_CHUNK if device.type == 'cpu' else memory, memory // 8)


def chunk_rows(cloud: Cloud, memory: int) -> int:
    """How many vectors to convert at a time."""
    return max(2, chunk_bytes(cloud.values.device, memory) // (24 * cloud.dimension))


@dataclass(frozen=True)
class Frame:
    """Shift and scale that make float32 products of points accurate.

    Cancellation in |q|² + |p|² - 2 q·p grows with the norms, so the points are centred. Any shift
    is exact to one rounding of the difference: it need not be the true mean. The scale is a power
    of two, so exact; with it squares neither overflow nor underflow.

    Attributes:
        shift: Shape (dimension,), float32 if points of at most that precision are among them,
            else float64.
        scale: Power of two that brings every coordinate into [-1, 1].
        plain: Whether float32 arithmetic can shift and scale without overflow or underflow.
    """

    shift: Tensor
    scale: float
    plain: bool

    @classmethod
    def of(cls, clouds: list[Cloud], memory: int) -> 'Frame':
        """The frame of the first cloud that holds the points of all.

        Raises:
            SeparationError: If a value is not finite.
        """
        step = chunk_rows(clouds[0], memory)
        total, extremes = 0.0, []
        for number, cloud in enumerate(clouds):
            for start in range(0, len(cloud), step):
                block = _wide(cloud.rows(start, start + step))
                extremes += [block.amin(0), block.amax(0)]
                if number == 0:
                    total = total + block.mean(0).double() * (len(block) / len(cloud))
            extremes = extremes and [torch.stack(extremes).amin(0), torch.stack(extremes).amax(0)]
        if not extremes:
            return cls(clouds[0].values.new_zeros(clouds[0].dimension).double(), 1.0, False)
        low, high = extremes
        shift = torch.as_tensor(total, device=low.device).to(low.dtype)
        if not shift.isfinite().all():  # no points, or their sum overflows
            shift = low / 2 + high / 2
        shift = shift.expand_as(low)
        if any(_is_float32(cloud.values) for cloud in clouds) and shift.abs().max() < 2.0**100:
            # Centres in float64 among float32 features, say: these are shifted in float32.
            shift = shift.float()
        largest = max((end.double() - shift.double()).abs().max().item() for end in (low, high))
        if not largest < inf:
            raise SeparationError('features hold NaN or infinite values.')
        exponent = max(-1000, frexp(largest)[1])
        plain = shift.dtype == torch.float32 and -60 < exponent < 100
        return cls(shift, 2.0**-exponent, plain)

    def place(self, values: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
        """Shift, scale and convert vectors; one rounding a coordinate."""
        if self.plain and dtype == torch.float32 and _is_float32(values):
            return torch.sub(_wide(values), self.shift, out=out).mul_(self.scale)
        placed = (values.double() - self.shift.double()).mul_(self.scale)
        return placed.to(dtype) if out is None else out.copy_(placed)


class Placed:
    """The points of a cloud within a frame, as one dtype, made ready for products.

    Behind its coordinates every point has what it alone adds to a squared distance's lower bound,
    and a one: a product with the vector of a query, see :func:`as_queries`, is the whole bound.
    Zeros fill the rows up to a multiple of ``ALIGNMENT`` values. Points are converted once if the
    copy may be held, and block by block otherwise.

    Args:
        cloud: The points.
        frame: Their shift and scale.
        dtype: Floating dtype of the products.
        hold: Whether the converted copy is held.
        step: How many rows to convert at a time.
        error: What is taken off a squared norm, as a share of it.
        tiny: What is taken off besides.

    Attributes:
        norms: Squared norms, float64 of shape (num_points,).
    """

    def __init__(
        self,
        cloud: Cloud,
        frame: Frame,
        dtype: torch.dtype,
        hold: bool,
        step: int,
        error: float = 0.0,
        tiny: float = 0.0,
    ) -> None:
        self.cloud, self.frame, self.dtype = cloud, frame, dtype
        self.error, self.tiny, self.step = error, tiny, step
        self.width = padded_width(cloud.dimension)
        device = cloud.values.device
        self.norms = torch.empty(len(cloud), dtype=torch.float64, device=device)
        held = torch.empty(len(cloud), self.width, dtype=dtype, device=device) if hold else None
        for start in range(0, len(cloud), step):
            part = slice(start, start + step)
            block = held[part, : cloud.dimension] if hold else None
            block = frame.place(cloud.rows(start, start + step), dtype, out=block)
            norms = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
            self.norms[part] = norms.square_()
        if hold:
            self._complete(held, self.norms)
        self.held = held

    def rows(self, start: int, stop: int) -> Tensor:
        """Consecutive points."""
        if self.held is not None:
            return self.held[start:stop]
        made = self._empty(stop - start)
        for first in range(0, len(made), self.step):
            last = min(first + self.step, len(made))
            self._place(self.cloud.rows(start + first, start + last), made[first:last])
        return self._complete(made, self.norms[start:stop])

    def take(self, points: Tensor) -> Tensor:
        """The points of the given numbers."""
        if self.held is not None:
            return self.held[points]
        made = self._empty(len(points))
        for part, rows in zip(points.split(self.step), made.split(self.step), strict=True):
            self._place(self.cloud.take(part), rows)
        return self._complete(made, self.norms[points])

    def _empty(self, count: int) -> Tensor:
        return self.norms.new_empty((count, self.width), dtype=self.dtype)

    def _place(self, values: Tensor, out: Tensor) -> None:
        self.frame.place(values, self.dtype, out=out[:, : self.cloud.dimension])

    def _complete(self, rows: Tensor, norms: Tensor) -> Tensor:
        dimension = self.cloud.dimension
        rows[:, dimension] = norms * (1 - self.error) - self.tiny
        rows[:, dimension + 1] = 1
        rows[:, dimension + 2 :] = 0
        return rows


def padded_width(dimension: int) -> int:
    """Length of a point made ready for products."""
    return -(-(dimension + 2) // ALIGNMENT) * ALIGNMENT


def as_queries(rows: Tensor, dimension: int) -> Tensor:
    """Make the other factor of the products from rows of :class:`Placed`."""
    query = rows * -2
    query[:, dimension] = 1
    query[:, dimension + 1] = rows[:, dimension]
    return query


def squared_distances(left: Tensor, right: Tensor, room: Tensor | None = None) -> Tensor:
    """Squared distances of pairs in float64, to the same bit wherever and however they are batched.

    The sum is a fixed tree of halves; a library's sum may depend on the number of pairs.

    Args:
        left: Shape (num_pairs, dimension), any real dtype; or (1, dimension) for all pairs.
        right: Shape (num_pairs, dimension).
        room: float64 of shape (2, num_pairs, dimension) to compute in; else it is allocated.

    Returns:
        float64 of shape (num_pairs,).
    """
    terms, other = right.new_empty((2, *right.shape), dtype=torch.float64) if room is None else room
    terms.copy_(left).sub_(other.copy_(right)).square_()
    width = terms.shape[1]
    while width > 1:
        half = (width + 1) // 2
        terms[:, : width - half] += terms[:, half:width]
        width = half
    return terms[:, 0].clone()


def _is_float32(values: Tensor) -> bool:
    """Whether float32 represents the values exactly."""
    return values.dtype in (torch.float16, torch.bfloat16, torch.float32)


def _wide(values: Tensor) -> Tensor:
    """Represent the values exactly in float32, or in float64 where float32 cannot."""
    return values.float() if _is_float32(values) else values.double()
