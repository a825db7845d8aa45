"""Ground-truth boxes."""

from copy import copy

from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import roi_align
from mmlayerwise.separation.samples.ground_truth import GroundTruth
from mmlayerwise.separation.samples.regions import RegionSamples
from mmlayerwise.separation.samples.sampler import Candidates, Pooling, check_caps, check_pooling


class BoxSamples(RegionSamples):
    """Ground-truth boxes, pooled by RoIAlign at the layer's own stride.

    Boxes of one image are no neighbours of each other: they share background and overlap, so that
    even random weights would score high.

    Args:
        output_size: Bins a side.
        max_per_image: Boxes to take from one image at most, balanced over its classes.
        max_images: Images to look at, at most.
        exclude_same_image: Whether boxes of one image are no neighbours of each other.
        max_per_class: Boxes of one class to take from one image, at most; None for no limit.
        levels: ``'all'`` measures every box on every level of a feature pyramid, ``'assigned'`` on
            the level to which the detector assigns it, see
            :func:`mmlayerwise.separation.levels.pyramid_levels`. A backbone's layers see all boxes.
    """

    kind = 'box'

    def __init__(
        self,
        output_size: int = 3,
        max_per_image: int = 50,
        max_images: int = 200,
        exclude_same_image: bool = True,
        max_per_class: int | None = None,
        levels: str = 'all',
    ) -> None:
        super().__init__(max_per_image, max_images, exclude_same_image, max_per_class, levels)
        check_caps(output_size=output_size)
        self.output_size = output_size

    def pooled(self, pooling: Pooling) -> 'BoxSamples':  # noqa: D102
        check_pooling(pooling)
        sampler = copy(self)
        if pooling != 'flatten':  # the bins as they are
            sampler.output_size = 1 if pooling == 'average' else pooling
        return sampler

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.boxes is None or truth.box_labels is None:
            raise SeparationError('Box samples need ground-truth boxes (gt_instances.bboxes).')
        boxes, labels = truth.boxes.cpu().float(), truth.box_labels.cpu().long()
        if truth.size is not None:
            limit = boxes.new_tensor(truth.size).flip(0).repeat(2)
            boxes = boxes.clamp(min=0).minimum(limit)
        areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
        return self._choose(truth, labels, boxes, areas, seed)[0]

    def _read(
        self, feature_map: Tensor, image: Candidates, rows: Tensor, stride: tuple[float, float]
    ) -> Tensor:
        return roi_align(feature_map, image.places[rows], stride, self.output_size)
