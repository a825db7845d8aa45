"""Instances, pooled under their masks."""

from dataclasses import replace

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import mask_boxes, mask_pool
from mmlayerwise.separation.samples.ground_truth import GroundTruth
from mmlayerwise.separation.samples.regions import RegionSamples
from mmlayerwise.separation.samples.sampler import Candidates


class InstanceSamples(RegionSamples):
    """Instances, each as the mean of the features under its mask at the layer's own stride.

    A cell weighs as much as the mask covers of it, so a mask smaller than a cell gives that cell's
    features, and one across a border the cells' in proportion. Empty masks are left out.

    Args:
        max_per_image: Instances to take from one image at most, balanced over its classes.
        max_images: Images to look at, at most.
        exclude_same_image: Whether instances of one image are no neighbours of each other.
        max_per_class: Instances of one class to take from one image, at most; None for no limit.
        levels: ``'all'`` or ``'assigned'``, by the box round the mask, see :class:`BoxSamples`.
    """

    kind = 'instance'

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.masks is None or truth.box_labels is None:
            raise SeparationError(
                'Instance samples need masks (gt_instances.masks): let the pipeline load them, '
                'dict(type="LoadAnnotations", with_bbox=True, with_mask=True).'
            )
        masks, labels = truth.masks.cpu().bool(), truth.box_labels.cpu().long()
        areas = masks.flatten(1).sum(1)
        chosen, rows = self._choose(truth, labels, mask_boxes(masks), areas, seed)
        chosen.truth = replace(truth, masks=masks[rows])  # as the candidates are ordered
        return chosen

    def _read(
        self, feature_map: Tensor, image: Candidates, rows: Tensor, stride: tuple[float, float]
    ) -> Tensor:
        if not len(rows):
            return torch.empty(0, len(feature_map), device=feature_map.device)
        return torch.stack(
            [
                mask_pool(feature_map, image.truth.masks[row], image.places[row], stride)
                for row in rows.tolist()
            ]
        )
