"""Soft non-maximum suppression (Bodla et al. 2017, "Improving Object Detection With One Line")."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.precision import upcast

_Decay = Callable[[np.ndarray], np.ndarray]


@implements('softnms')
def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Take the best box again and again, lowering the scores of those that overlap with it.

    Each step depends on the one before, so it runs on the CPU in numpy, whose calls cost least.
    Ties between scores fall as in mmcv, which keeps the remaining boxes in a certain order.

    Args:
        boxes: Boxes (x1, y1, x2, y2) on the CPU, shape (N, 4).
        scores: Scores on the CPU, shape (N,).
        dets: Output on the CPU, shape (N, 5): the boxes and scores taken, in order.
        iou_threshold: Overlap from which a score is lowered (methods 0 and 1).
        sigma: Width of the Gaussian (method 2).
        min_score: A box is dropped when its lowered score falls below this.
        method: 0 drops (naive), 1 scales by 1 - overlap (linear), 2 by exp(-overlap^2 / sigma).
        offset: 1 if a box includes its last pixel (width = x2 - x1 + 1), else 0.

    Returns:
        Indices of the boxes taken, shape (K,), int64; the first K rows of ``dets`` are filled.
    """
    coordinates = upcast(boxes.detach()).numpy()
    table = np.empty((6, len(coordinates)), dtype=coordinates.dtype)
    table[:4] = coordinates.T
    table[4] = upcast(scores.detach()).numpy()
    table[5] = (table[2] - table[0] + offset) * (table[3] - table[1] + offset)
    decay = _decay(method, table.dtype.type(iou_threshold), table.dtype.type(sigma))
    min_score = table.dtype.type(min_score)
    indices = np.arange(table.shape[1])
    step, end = 0, table.shape[1]
    with np.errstate(divide='ignore', invalid='ignore'):  # boxes without area
        while step < end:
            best = step + int(table[4, step:end].argmax())
            table[:, [step, best]] = table[:, [best, step]]
            indices[[step, best]] = indices[[best, step]]
            rest = table[:, step + 1 : end]
            rest[4] *= decay(_overlaps(table[:, step], rest, offset))
            dropped = rest[4] < min_score
            if dropped.any():
                remaining = _fill_gaps(dropped)
                stop = step + 1 + len(remaining)
                table[:, step + 1 : stop] = rest[:, remaining]
                indices[step + 1 : stop] = indices[step + 1 : end][remaining]
                end = stop
            step += 1
    dets[:end] = torch.from_numpy(table[:5, :end].T).to(dets.dtype)
    return torch.from_numpy(indices[:end].copy())


def _decay(method: int, iou_threshold: np.floating, sigma: np.floating) -> _Decay:
    decays: dict[int, _Decay] = {
        0: lambda ious: np.where(ious >= iou_threshold, 0, 1).astype(ious.dtype),
        1: lambda ious: np.where(ious >= iou_threshold, 1 - ious, 1).astype(ious.dtype),
        2: lambda ious: np.exp(-(ious * ious) / sigma),
    }
    return decays[method]


def _overlaps(box: np.ndarray, boxes: np.ndarray, offset: int) -> np.ndarray:
    """Return the intersection over union of one column of the table with others."""
    width = np.minimum(box[2], boxes[2]) - np.maximum(box[0], boxes[0]) + offset
    height = np.minimum(box[3], boxes[3]) - np.maximum(box[1], boxes[1]) + offset
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    return intersection / (box[5] + boxes[5] - intersection)


def _fill_gaps(dropped: np.ndarray) -> np.ndarray:
    """Return the order of the remaining boxes once the last ones have filled the gaps.

    mmcv overwrites a dropped box with the last one. This is where that leads for all of them.
    """
    num_remaining = len(dropped) - int(dropped.sum())
    order = np.arange(num_remaining)
    gaps = dropped[:num_remaining].nonzero()[0]
    order[gaps] = num_remaining + (~dropped[num_remaining:]).nonzero()[0][::-1]
    return order
