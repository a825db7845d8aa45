"""Which boxes of two sets overlap by more than a threshold, in bounded memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Boxes that suppression resolves together, and pairs compared at a time. On a CPU the three buffers
# then fit the second-level cache, and torch runs each operation on the calling thread (it splits
# from 32,768 elements on): on cores shared with data loaders, waiting for other threads a dozen
# times a tile costs far more than they compute. Elsewhere few launches count.
_CPU_BLOCK, _CPU_PAIRS = 128, (1 << 15) - 1
_BLOCK, _PAIRS = 1024, 1 << 22


def box_columns(boxes: Tensor, offset: int) -> Tensor:
    """Return x1, y1, x2, y2 and area as contiguous rows.

    Args:
        boxes: Boxes (x1, y1, x2, y2), shape (N, 4).
        offset: 1 if a box includes its last pixel, else 0.

    Returns:
        Tensor of shape (5, N).
    """
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    return torch.stack((x1, y1, x2, y2, (x2 - x1 + offset) * (y2 - y1 + offset)))


class PairwiseOverlap:
    """Compares the intersection over union of pairs of boxes with a threshold.

    The arithmetic is that of mmcv's kernels, operation by operation, so that the same pairs pass
    where an overlap lies at the threshold. Work happens in three reused buffers: allocating memory
    afresh for every tile takes longer than the arithmetic.

    Args:
        boxes: Any of the boxes to come; gives dtype (float32 or float64) and device.
        iou_threshold: A pair overlaps if its intersection over union is greater than this.
        offset: 1 if a box includes its last pixel, else 0.
        inclusive: Whether an intersection over union equal to the threshold counts.
    """

    def __init__(
        self, boxes: Tensor, iou_threshold: float, offset: int, inclusive: bool = False
    ) -> None:
        on_cpu = boxes.device.type == 'cpu'
        self.block_size = _CPU_BLOCK if on_cpu else _BLOCK
        self._threshold = iou_threshold
        self._offset = offset
        self._compare = torch.ge if inclusive else torch.gt
        num_pairs = _CPU_PAIRS if on_cpu else _PAIRS
        self._buffers = boxes.new_empty((3, num_pairs))

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the mask of overlapping pairs.

        Args:
            first: Columns of :func:`box_columns`, shape (5, M).
            second: Columns, shape (5, N); M x N is at most the size of a tile.

        Returns:
            Boolean tensor of shape (M, N).
        """
        shape = (first.size(1), second.size(1))
        width, height, scratch = (
            buffer[: shape[0] * shape[1]].view(shape) for buffer in self._buffers
        )
        first = first[:, :, None]
        self._extent(first[0], first[2], second[0], second[2], width, scratch)
        self._extent(first[1], first[3], second[1], second[3], height, scratch)
        intersection = width.mul_(height)
        union = torch.add(first[4], second[4], out=height).sub_(intersection)
        return self._compare(intersection.div_(union), self._threshold)

    def any(self, first: Tensor, second: Tensor) -> Tensor:
        """Return which boxes of ``second`` overlap with any of ``first``, shape (N,)."""
        return torch.cat([tile.any(dim=0) for tile in self._tiles(first, second)])

    def first(self, first: Tensor, second: Tensor) -> Tensor:
        """Return, for each box of ``second``, the first of ``first`` that it overlaps with.

        Every box of ``second`` must overlap with one. Shape (N,), int64.
        """
        best = second.new_full((second.size(1),), first.size(1), dtype=torch.long)
        for start in range(0, first.size(1), self.block_size):
            part = first[:, start : start + self.block_size]
            found = torch.cat(
                [_first_true(tile, missing=first.size(1)) for tile in self._tiles(part, second)]
                or [best]
            )
            best = best.minimum(found + start)
        return best

    def _tiles(self, first: Tensor, second: Tensor) -> Iterator[Tensor]:
        step = max(1, self._buffers.size(1) // first.size(1))
        for start in range(0, second.size(1), step):
            yield self(first, second[:, start : start + step])

    def _extent(
        self, low1: Tensor, high1: Tensor, low2: Tensor, high2: Tensor, out: Tensor, scratch: Tensor
    ) -> None:
        """Write the length of the intersection of two sets of intervals into ``out``."""
        torch.minimum(high1, high2, out=out).sub_(torch.maximum(low1, low2, out=scratch))
        if self._offset:
            out.add_(self._offset)
        out.clamp_(min=0)


def _first_true(mask: Tensor, missing: int) -> Tensor:
    """Return the row of the first True in every column, ``missing`` where there is none."""
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    return torch.where(mask, rows, missing).amin(dim=0)
