"""Intersection over union of axis-aligned boxes."""

from torch import Tensor

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.precision import upcast

_IOU = 0


@implements('bbox_overlaps')
def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write the overlaps of two sets of boxes into ``ious``.

    Args:
        bboxes1: Boxes (x1, y1, x2, y2), shape (M, 4).
        bboxes2: Boxes, shape (N, 4); M equals N if ``aligned``.
        ious: Output, shape (M,) if ``aligned``, else (M, N).
        mode: 0 for intersection over union, 1 for intersection over the area of the first box.
        aligned: Whether to pair the boxes one to one.
        offset: 1 if a box includes its last pixel (width = x2 - x1 + 1), else 0.
    """
    first, second = upcast(bboxes1), upcast(bboxes2)
    area1, area2 = _area(first, offset), _area(second, offset)
    if not aligned:
        first, area1 = first[:, None], area1[:, None]
    size = first[..., 2:].minimum(second[..., 2:]) - first[..., :2].maximum(second[..., :2])
    intersection = (size + offset).clamp(min=0).prod(dim=-1)
    denominator = area1 + area2 - intersection if mode == _IOU else area1.expand_as(intersection)
    # mmcv's CUDA kernel bounds the denominator like this; 0 / 0 stays NaN, as in its CPU kernel.
    ious.copy_(intersection / denominator.clamp(min=offset))


def _area(boxes: Tensor, offset: int) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
