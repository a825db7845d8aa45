"""YOLOv3's head trained with an IoU loss."""

from typing import Any

import torch
from mmdet.models.dense_heads.yolo_head import YOLOV3Head
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class YOLOV3IoUHead(YOLOV3Head):
    """YOLOv3's coupled head with the losses of the YOLOX paper's baseline.

    Binary cross-entropy trains classes and objectness, and one IoU loss on the decoded box replaces
    the separate losses of centre and size (https://arxiv.org/abs/2107.08430, section 2.1). All are
    summed and divided by the number of positive anchors.

    Args:
        num_classes: Number of classes without background.
        in_channels: Channels of each level, coarsest first.
        loss_bbox: Config of the loss of decoded boxes.
        kwargs: As for mmdet's ``YOLOV3Head``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: list[int],
        loss_bbox: dict | None = None,
        **kwargs: Any,
    ) -> None:
        for name in ('loss_cls', 'loss_conf'):
            kwargs.setdefault(
                name, dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='sum')
            )
        super().__init__(num_classes, in_channels, **kwargs)
        del self.loss_xy, self.loss_wh
        self.loss_bbox = MODELS.build(
            loss_bbox or dict(type='mmdet.IoULoss', mode='square', reduction='sum', loss_weight=5.0)
        )

    def loss_by_feat(
        self,
        pred_maps: tuple[torch.Tensor, ...],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of a batch.

        Args:
            pred_maps: Predictions of each level, each of shape (N, anchors * (5 + classes), H, W).
            batch_gt_instances: ``bboxes`` and ``labels`` of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Not used, as in mmdet's head.

        Returns:
            The losses of classes, objectness and boxes.
        """
        sizes = [pred_map.shape[-2:] for pred_map in pred_maps]
        device = pred_maps[0].device
        anchors = self.prior_generator.grid_priors(sizes, device=device)
        responsible = [
            self.responsible_flags(sizes, instances.bboxes, device)
            for instances in batch_gt_instances
        ]
        targets, negatives = self.get_targets(
            [anchors] * len(batch_img_metas), responsible, batch_gt_instances
        )
        target, negative = torch.cat(targets, 1), torch.cat(negatives, 1).bool()
        positive = target[..., 4].bool()
        prediction = torch.cat(
            [
                pred_map.permute(0, 2, 3, 1).reshape(len(pred_map), -1, self.num_attrib)
                for pred_map in pred_maps
            ],
            1,
        )
        num_positive = reduce_mean(positive.sum().to(prediction)).clamp(min=1)
        predicted_boxes, target_boxes = self._decode(prediction, target, anchors, positive)
        return dict(
            loss_cls=self.loss_cls(prediction[positive][:, 5:], target[positive][:, 5:])
            / num_positive,
            loss_conf=self.loss_conf(
                prediction[..., 4], target[..., 4], weight=(positive | negative).to(prediction)
            )
            / num_positive,
            loss_bbox=self.loss_bbox(predicted_boxes, target_boxes) / num_positive,
        )

    def _decode(
        self,
        prediction: torch.Tensor,
        target: torch.Tensor,
        anchors: list[torch.Tensor],
        positive: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (x1, y1, x2, y2) of the positive anchors, predicted and true, of shape (P, 4)."""
        strides = torch.cat(
            [
                level.new_full((len(level), 1), stride)
                for level, stride in zip(anchors, self.featmap_strides, strict=True)
            ]
        )
        anchor_of_positive = positive.nonzero()[:, 1]
        anchor, stride = torch.cat(anchors)[anchor_of_positive], strides[anchor_of_positive]
        predicted = prediction[positive][:, :4]
        predicted = torch.cat([predicted[:, :2].sigmoid(), predicted[:, 2:]], 1)
        return (
            self.bbox_coder.decode(anchor, predicted, stride),
            self.bbox_coder.decode(anchor, target[positive][:, :4], stride),
        )
