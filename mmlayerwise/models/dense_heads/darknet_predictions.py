"""How the heads of YOLO make detections of their outputs."""

from typing import Any

import torch
from mmdet.models.utils import filter_scores_and_topk
from mmengine import ConfigDict
from mmengine.structures import InstanceData

from mmlayerwise.models.layers.diou_nms import diou_nms


class DarknetPredictionsMixin:
    """Detections of a dense head that decodes all its boxes and scores at once.

    The score of a box is objectness times class probability, and boxes end at the border of the
    image, as in darknet. A head that uses it has ``decode_predictions``. Besides mmcv's operators,
    ``nms`` of the test config may have the type 'diou_nms'.
    """

    def predict_by_feat(
        self,
        *outputs: Any,
        batch_img_metas: list[dict],
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Select the detections of a batch.

        Args:
            outputs: What ``forward`` returned.
            batch_img_metas: Meta information of each image.
            cfg: Test config with ``score_thr``, ``nms_pre``, ``nms`` and ``max_per_img``; by
                default the head's.
            rescale: Whether to give boxes in pixels of the original image.
            with_nms: Whether to suppress overlapping boxes.

        Returns:
            Of each image ``bboxes`` of shape (D, 4) as x1, y1, x2, y2, ``scores`` and ``labels``
            of shape (D,).
        """
        cfg = self.test_cfg if cfg is None else cfg
        boxes, scores = self.decode_predictions(*outputs)
        return [
            self._select(boxes[index], scores[index], cfg, rescale, with_nms, meta)
            for index, meta in enumerate(batch_img_metas)
        ]

    def _select(
        self,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        cfg: dict,
        rescale: bool,
        with_nms: bool,
        img_meta: dict,
    ) -> InstanceData:
        scores, labels, kept, _ = filter_scores_and_topk(
            scores, cfg.get('score_thr', 0.0), cfg.get('nms_pre', scores.numel())
        )
        height, width = img_meta['img_shape'][:2]
        limit = boxes.new_tensor([width, height, width, height])
        results = InstanceData(
            bboxes=boxes[kept].clamp(min=0).minimum(limit), scores=scores, labels=labels
        )
        nms = cfg.get('nms') or {}
        if nms.get('type') == 'diou_nms':
            # mmcv takes a function where it has no operator of that name.
            cfg = ConfigDict(cfg, nms=ConfigDict(nms, type=diou_nms))
        return self._bbox_post_process(
            results, cfg, rescale=rescale, with_nms=with_nms, img_meta=img_meta
        )
