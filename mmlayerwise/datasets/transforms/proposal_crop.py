"""Training windows around proposals of objects."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.ops import bbox_overlaps

from mmlayerwise.datasets.transforms.object_centered_crop import ObjectCenteredCrop
from mmlayerwise.datasets.transforms.window_crop import WindowCrop
from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.utils.errors import UserError


@TRANSFORMS.register_module()
class ProposalCrop(WindowCrop):
    """Cut out a proposal that overlaps an object, with the labels of all its pixels.

    The second stage of DeconvNet's training: proposals of at least half an object's intersection
    over union, 1.2 times as large (Noh, Hong and Han, arXiv 1505.04366, section 4.2). The overlap
    is that with the boxes of objects, as of :class:`ObjectCenteredCrop`. An image without such a
    proposal gives the window of one of its objects.

    Required keys: ``img``, ``gt_seg_map``, ``proposals`` (N, 4). Modified keys: ``img``,
    ``gt_seg_map``, ``img_shape``.

    Args:
        overlap: Intersection over union with an object that a proposal has at least.
        background: Label that is no object; None if there is none.
        context: Factor on width and height of the proposal.
        smallest: Pixels of the smallest part that counts as an object.
        image_fill: Value of pixels outside the image, or one for each channel.
        ignore_index: Label of pixels that don't count, and of those outside the image.
    """

    def __init__(
        self,
        overlap: float = 0.5,
        background: int | None = 0,
        context: float = 1.2,
        smallest: int = 100,
        image_fill: int | Sequence[int] = 0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(context, image_fill, ignore_index)
        self.overlap = overlap
        self.objects = ObjectCenteredCrop(
            background, context, smallest, image_fill, ignore_index
        ).windows

    def windows(self, results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Proposals near an object and the label of the nearest one."""
        if 'proposals' not in results:
            raise UserError(
                'ProposalCrop needs proposals; put LoadObjectProposals or WindowProposals before it'
            )
        objects, labels = self.objects(results)
        proposals = np.asarray(results['proposals'], np.float32)[:, :4]
        if not len(objects) or not len(proposals):
            return objects, labels
        overlaps = bbox_overlaps(*map(torch.from_numpy, (proposals, objects))).numpy()
        near = overlaps.max(1) >= self.overlap
        if not near.any():
            return objects, labels
        return proposals[near], labels[overlaps[near].argmax(1)]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(overlap={self.overlap}, context={self.context})'
