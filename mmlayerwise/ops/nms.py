"""Greedy non-maximum suppression and the grouping that goes with it."""

import torch
from torch import Tensor

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.pairwise_overlap import PairwiseOverlap, box_columns
from mmlayerwise.ops.precision import upcast
from mmlayerwise.ops.torchvision_operators import torchvision_operator


@implements('nms')
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keep each box that overlaps no kept box of a higher score by more than the threshold.

    Args:
        boxes: Boxes (x1, y1, x2, y2), shape (N, 4).
        scores: Scores, shape (N,); of equal ones the lower index goes first.
        iou_threshold: A box is removed if its overlap is greater than this.
        offset: 1 if a box includes its last pixel (width = x2 - x1 + 1), else 0.

    Returns:
        Indices of the kept boxes by falling score, shape (K,), int64.
    """
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.long, device=boxes.device)
    boxes = upcast(boxes)
    compiled = torchvision_operator('nms', boxes.device.type) if offset == 0 else None
    if compiled is not None:
        # torchvision compares with a double, mmcv with the threshold in the boxes' precision.
        threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()
        return compiled(boxes, scores.to(boxes.dtype), threshold)
    order = scores.sort(descending=True, stable=True).indices
    overlap = PairwiseOverlap(boxes, iou_threshold, offset)
    return order[_greedy_survivors(box_columns(boxes[order], offset), overlap)]


@implements('nms_match')
def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group every box that suppression removes with the kept box that removed it.

    Unlike in :func:`nms`, an overlap equal to the threshold suffices, as in mmcv.

    Args:
        dets: Boxes and scores (x1, y1, x2, y2, score), shape (N, 5).
        iou_threshold: A box joins the group of the best box it overlaps by this or more.

    Returns:
        One list of indices for each kept box, by falling score of the kept box; in a list the
        kept box stands first and the others follow by falling score.
    """
    boxes = upcast(dets[:, :4])
    order = dets[:, 4].sort(descending=True, stable=True).indices
    columns = box_columns(boxes[order], offset=0)
    overlap = PairwiseOverlap(boxes, iou_threshold, offset=0, inclusive=True)
    kept = _greedy_survivors(columns, overlap)
    removed = torch.ones(len(order), dtype=torch.bool, device=order.device)
    removed[kept] = False
    removed = removed.nonzero()[:, 0]
    # Its remover is the first of the kept boxes that a box overlaps with.
    remover = overlap.first(columns[:, kept], columns[:, removed])
    groups = [[index] for index in order[kept].tolist()]
    for index, group in zip(order[removed].tolist(), remover.tolist(), strict=True):
        groups[group].append(index)
    return groups


def _greedy_survivors(columns: Tensor, overlap: PairwiseOverlap) -> Tensor:
    """Return the positions that greedy suppression keeps among boxes in falling score order.

    Blocks of boxes are resolved one after the other; the survivors of a block then remove all
    boxes after it that they overlap with, so that later blocks hold none of these.
    """
    alive = torch.arange(columns.size(1), device=columns.device)
    survivors = []
    while alive.numel() > 0:
        block, rest = columns[:, : overlap.block_size], columns[:, overlap.block_size :]
        kept = _resolve_block(overlap(block, block).triu(diagonal=1))
        survivors.append(alive[: overlap.block_size][kept])
        alive = alive[overlap.block_size :]
        if alive.numel() > 0:
            clear = (~overlap.any(block[:, kept], rest)).nonzero()[:, 0]
            alive, columns = alive[clear], rest[:, clear]
    return torch.cat(survivors)


def _resolve_block(overlaps: Tensor) -> Tensor:
    """Return the mask of boxes that greedy suppression keeps in one block.

    The greedy solution is the only fixed point of "kept if no kept box before it overlaps".
    Iterating from "all kept" settles at least one further box of every chain each time, so as many
    rounds suffice as the longest chain of suppressions has links.

    Args:
        overlaps: Strictly upper triangular mask, shape (B, B): row removes column if kept.
    """
    kept = torch.ones(len(overlaps), dtype=torch.bool, device=overlaps.device)
    while True:
        settled = ~(overlaps & kept[:, None]).any(dim=0)
        if torch.equal(settled, kept):
            return kept
        kept = settled
