"""Suppression that spares boxes whose centres lie apart."""

import torch
from mmdet.structures.bbox import bbox_overlaps


def diou_nms(
    boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, beta: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Suppress greedily by distance IoU (Zheng et al. 2020, https://arxiv.org/abs/1911.08287).

    A box goes if ``IoU - (d ** 2 / c ** 2) ** beta`` with a kept box of higher score is greater
    than the threshold, where d is the distance of the centres and c the diagonal of the smallest
    box around both.

    Args:
        boxes: Float tensor of shape (D, 4) as x1, y1, x2, y2.
        scores: Float tensor of shape (D,).
        iou_threshold: The threshold.
        beta: Exponent of the penalty; 1 in the paper, 0.6 in YOLOv4's config.

    Returns:
        The kept boxes with their scores, (K, 5), and their indices, (K,), best first: what
        ``mmcv.ops.batched_nms`` asks of an operator.
    """
    kept = []
    remaining = scores.argsort(descending=True)
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        kept.append(best)
        similarity = _distance_iou(boxes[best], boxes[remaining], beta)
        remaining = remaining[similarity <= iou_threshold]
    keep = torch.stack(kept) if kept else remaining
    return torch.cat([boxes[keep], scores[keep, None]], 1), keep


def _distance_iou(box: torch.Tensor, others: torch.Tensor, beta: float) -> torch.Tensor:
    """Similarity of one box, (4,), with others, (D, 4); of shape (D,)."""
    corners = torch.maximum(box[2:], others[:, 2:]) - torch.minimum(box[:2], others[:, :2])
    offsets = (box[:2] + box[2:] - others[:, :2] - others[:, 2:]) / 2
    diagonal = corners.square().sum(1).clamp(min=torch.finfo(box.dtype).tiny)
    penalty = (offsets.square().sum(1) / diagonal) ** beta
    return bbox_overlaps(box[None], others)[0] - penalty
