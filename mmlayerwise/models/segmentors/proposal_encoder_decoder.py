"""Prediction of an image from those of the proposals in it."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder

from mmlayerwise.datasets.transforms.window_crop import extend_boxes
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class ProposalEncoderDecoder(EncoderDecoder):
    """Predicts each proposal at the size of the training and puts the scores together.

    With ``test_cfg=dict(mode='proposals')`` each proposal, with its surroundings, is scaled to the
    network's input; its scores are scaled back and put on a map of zeros of the image's size. The
    image's scores are the maximum or the mean of these maps, zeros without any proposal. Other
    modes are those of mmseg.

    Noh, Hong and Han, "Learning Deconvolution Network for Semantic Segmentation", arXiv 1505.04366,
    section 5.1; that the zeros count where every proposal gives less is as released.

    The boxes come from the pipeline: ``LoadObjectProposals`` or ``WindowProposals``, and
    ``PackSegInputs`` with ``'proposals'`` among its ``meta_keys``. ``test_cfg`` takes:

    * ``crop_size``: (height, width) that proposals are scaled to, (224, 224) by default.
    * ``max_proposals``: how many to use, the first 50 that are large enough by default.
    * ``context``: factor on their width and height, 1.2 by default.
    * ``min_size``: pixels of the shorter side, with the context, of the smallest one; 112 by
      default, as released.
    * ``aggregation``: ``'max'``, the default, or ``'mean'``.
    * ``batch_size``: how many are predicted at a time, 10 by default.

    Args:
        **kwargs: What mmseg's ``EncoderDecoder`` takes.

    Raises:
        UserError: If there is no such aggregation.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        aggregation = (self.test_cfg or {}).get('aggregation', 'max')
        if aggregation not in ('max', 'mean'):
            raise UserError(f"test_cfg.aggregation is 'max' or 'mean', not {aggregation!r}")

    def inference(
        self, inputs: torch.Tensor, batch_img_metas: list[dict[str, Any]]
    ) -> torch.Tensor:
        """Predict images.

        Args:
            inputs: Images, float tensor of shape (N, C, H, W).
            batch_img_metas: What the pipeline tells of each, with ``proposals`` in pixels.

        Returns:
            Scores of shape (N, num_classes, H, W).
        """
        if self.test_cfg.get('mode', 'whole') != 'proposals':
            return super().inference(inputs, batch_img_metas)
        images = zip(inputs, batch_img_metas, strict=True)
        return torch.stack(
            [self._aggregate(image, self._windows(image, meta)) for image, meta in images]
        )

    def _windows(self, image: torch.Tensor, meta: dict[str, Any]) -> np.ndarray:
        """The proposals to use, with their surroundings, in whole pixels."""
        if 'proposals' not in meta:
            raise UserError(
                "test_cfg.mode='proposals' needs proposals in the samples: put LoadObjectProposals "
                "or WindowProposals into the pipeline and 'proposals' into meta_keys of "
                'PackSegInputs'
            )
        boxes = np.asarray(meta['proposals'], np.float64).reshape(-1, 4)
        boxes = boxes.clip(0, np.tile(image.shape[:0:-1], 2))
        windows = extend_boxes(boxes, self.test_cfg.get('context', 1.2))
        sizes = (windows[:, 2:] - windows[:, :2]).min(1)
        large = windows[sizes >= max(self.test_cfg.get('min_size', 112), 1)]
        return large[: self.test_cfg.get('max_proposals', 50)]

    def _aggregate(self, image: torch.Tensor, windows: np.ndarray) -> torch.Tensor:
        """Scores of an image (C, H, W) from those of its windows."""
        height, width = image.shape[1:]
        total = image.new_zeros(self.out_channels, height, width)
        size = self.test_cfg.get('batch_size', 10)
        by_maximum = self.test_cfg.get('aggregation', 'max') == 'max'
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            for scores, (left, top, right, bottom) in zip(
                self._score(image, batch), batch, strict=True
            ):
                scores = _scale(scores, (bottom - top, right - left))
                rows = slice(max(top, 0), min(bottom, height))
                columns = slice(max(left, 0), min(right, width))
                inside = scores[
                    :,
                    rows.start - top : rows.stop - top,
                    columns.start - left : columns.stop - left,
                ]
                part = total[:, rows, columns]
                part.copy_(torch.maximum(part, inside) if by_maximum else part + inside)
        return total if by_maximum else total / max(len(windows), 1)

    def _score(self, image: torch.Tensor, windows: np.ndarray) -> torch.Tensor:
        """Scores of windows at the network's size, (N, num_classes, H', W')."""
        height, width = image.shape[1:]
        size = tuple(self.test_cfg.get('crop_size', (224, 224)))
        # Zeros, the mean colour, lie outside.
        margin = max(0, -windows[:, :2].min(), *(windows[:, 2:] - (width, height)).max(0))
        padded = F.pad(image, 4 * [int(margin)])
        crops = [_scale(padded[:, y1:y2, x1:x2], size) for x1, y1, x2, y2 in windows + int(margin)]
        return self.encode_decode(torch.stack(crops), [dict(img_shape=size)] * len(crops))


def _scale(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(image[None], tuple(map(int, size)), mode='bilinear')[0]
