"""The cells round an object's centre learn it."""

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from mmlayerwise.registry import TASK_UTILS


@TASK_UTILS.register_module()
class CenterCellAssigner(BaseAssigner):
    """Assign each object to the cell of its centre, on the pyramid level of its size.

    The steps "anchor-free" (radius 0: one cell) and "multi positives" (radius 1: 3x3 cells) of the
    YOLOX paper's road map (https://arxiv.org/abs/2107.08430, section 2.1). The level follows from
    half the longer side, the largest distance that the centre's cell regresses, by the ranges of
    FCOS (https://arxiv.org/abs/1904.01355, section 3.2). A cell that several objects want goes to
    the smallest.

    Args:
        radius: Cells on each side of the centre's cell that learn the object, too.
        limits: Largest half side in pixels on each level but the coarsest, finest first.
    """

    def __init__(self, radius: int = 0, limits: Sequence[float] = (64, 128)) -> None:
        self.radius = radius
        self.limits = limits

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: None,
    ) -> AssignResult:
        """Assign the objects of one image.

        Args:
            pred_instances: ``priors`` of shape (num_priors, 4): middle of each cell and its stride,
                (x, y, stride, stride) in pixels; ``bboxes`` of shape (num_priors, 4).
            gt_instances: ``bboxes`` of shape (num_objects, 4) and ``labels``.
            gt_instances_ignore: Not used.
            kwargs: Not used.

        Returns:
            For each prior the number of its object, from 1, or 0; and the overlap of the predicted
            box with it.
        """
        boxes, priors = gt_instances.bboxes, pred_instances.priors
        wanted = self._wanted(boxes, priors)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        ranks = torch.where(wanted, areas, torch.inf)
        assigned = wanted.any(1)
        objects = ranks[assigned].argmin(1)
        gt_inds = priors.new_zeros(len(priors), dtype=torch.long)
        gt_inds[assigned] = objects + 1
        labels = priors.new_full((len(priors),), -1, dtype=torch.long)
        labels[assigned] = gt_instances.labels[objects]
        overlaps = priors.new_zeros(len(priors))
        overlaps[assigned] = bbox_overlaps(
            pred_instances.bboxes[assigned], boxes[objects], is_aligned=True
        )
        return AssignResult(len(boxes), gt_inds, overlaps, labels)

    def _wanted(self, boxes: Tensor, priors: Tensor) -> Tensor:
        """Whether an object asks for a cell; bool of shape (num_priors, num_objects)."""
        strides, prior_level = priors[:, 2].unique(return_inverse=True)  # ascending
        half_side = (boxes[:, 2:] - boxes[:, :2]).amax(1) / 2
        object_level = torch.bucketize(half_side, half_side.new_tensor(self.limits))
        object_level = object_level.clamp(max=len(strides) - 1)
        cells = (priors[:, :2] / priors[:, 2:]).floor()
        # The last cell of a level also has its right and lower edge.
        last = torch.stack([cells[prior_level == level].amax(0) for level in range(len(strides))])
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        center_cells = (centers / strides[object_level, None]).floor()
        center_cells = center_cells.clamp(min=0).minimum(last[object_level])
        distance = (cells[:, None] - center_cells).abs().amax(2)
        return (prior_level[:, None] == object_level) & (distance <= self.radius)
