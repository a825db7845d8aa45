"""One prediction for each object, so that no suppression is needed."""

import torch
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment

from mmlayerwise.registry import TASK_UTILS


@TASK_UTILS.register_module()
class OneToOneAssigner(BaseAssigner):
    """Match every object with the one prediction of the highest total quality.

    The quality of a prediction for an object is score^(1 - alpha) IoU^alpha where the middle of
    its cell lies inside the object, else nothing; a bipartite matching maximises the sum (Zhou et
    al., https://arxiv.org/abs/2101.11782, section 3.2).

    Args:
        alpha: Weight of the overlap against the score.
    """

    def __init__(self, alpha: float = 0.8) -> None:
        self.alpha = alpha

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: None,
    ) -> AssignResult:
        """Assign the objects of one image.

        Args:
            pred_instances: ``priors`` of shape (num_priors, 4), of which the first two are the
                middle of each cell in pixels; ``bboxes`` of shape (num_priors, 4) and ``scores``
                of shape (num_priors, num_classes), in [0, 1].
            gt_instances: ``bboxes`` of shape (num_objects, 4) and ``labels``.
            gt_instances_ignore: Not used.
            kwargs: Not used.

        Returns:
            For each prior the number of its object, from 1, or 0; and the overlap of the predicted
            box with it. An object around no cell's middle is left out.
        """
        boxes, labels, priors = gt_instances.bboxes, gt_instances.labels, pred_instances.priors
        overlaps = bbox_overlaps(pred_instances.bboxes, boxes)
        middle = priors[:, None, :2]
        inside = ((middle > boxes[:, :2]) & (middle < boxes[:, 2:])).all(2)
        scores = pred_instances.scores[:, labels]
        quality = scores ** (1 - self.alpha) * overlaps**self.alpha
        # Any prediction inside beats none, however bad it is yet.
        quality = torch.where(inside, quality + 1, 0.0)
        candidates = inside.any(1).nonzero()[:, 0]
        rows, objects = linear_sum_assignment(quality[candidates].cpu().numpy(), maximize=True)
        rows, objects = (torch.as_tensor(one, device=priors.device) for one in (rows, objects))
        rows = candidates[rows]
        matched = inside[rows, objects]
        rows, objects = rows[matched], objects[matched]
        gt_inds = priors.new_zeros(len(priors), dtype=torch.long)
        gt_inds[rows] = objects + 1
        assigned_labels = priors.new_full((len(priors),), -1, dtype=torch.long)
        assigned_labels[rows] = labels[objects]
        max_overlaps = overlaps.new_zeros(len(priors))
        max_overlaps[rows] = overlaps[rows, objects]
        return AssignResult(len(boxes), gt_inds, max_overlaps, assigned_labels)
