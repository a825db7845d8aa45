"""The head of YOLOv2."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.structures.bbox import bbox_overlaps
from mmengine.dist import get_world_size
from mmengine.structures import InstanceData

from mmlayerwise.models.dense_heads.darknet_predictions import DarknetPredictionsMixin
from mmlayerwise.registry import MODELS

COCO_ANCHORS = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
CENTRE_OF_CELL = (0.5, 0.5, 0.0, 0.0)


@MODELS.register_module()
class YOLOv2Head(DarknetPredictionsMixin, YOLOV3Head):
    """One level of anchors with a softmax over classes, trained by darknet's region loss.

    Redmon and Farhadi, 2017 (https://arxiv.org/abs/1612.08242). A cell (i, j) and an anchor of size
    (p_w, p_h) predict the box with centre (sigmoid(t_x) + i, sigmoid(t_y) + j) and size
    (p_w exp(t_w), p_h exp(t_h)), in cells.

    The loss is the one of darknet's region layer, a sum over places divided by the number of
    images, with 1/2 before every square, so that its gradients equal darknet's deltas. Each true
    box belongs to the anchor of the cell of its centre that is nearest to it in shape; if two true
    boxes meet there, the later one stays.

    - box: ``coord_scale * (2 - w * h)`` times the squared errors of sigmoid(t_x), sigmoid(t_y),
      t_w and t_h, where w and h are relative to the image;
    - objectness: ``object_scale`` times the squared distance to the IoU of predicted and true box
      at such anchors; ``noobject_scale`` times its square at the others, without those whose
      predicted box overlaps a true one by more than ``ignore_threshold``;
    - class: ``class_scale`` times the cross-entropy.

    For the first ``prior_images`` images all other anchors are drawn to their own shape and the
    centre of the cell, with the factor ``prior_scale``. The buffer ``images_seen`` counts images.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the input.
        feat_channels: Channels of the 3x3 convolution before the output.
        anchors: Widths and heights of the anchors, in cells.
        stride: Height and width of a cell in pixels.
        object_scale: Weight of objectness where there is an object.
        noobject_scale: Weight of objectness elsewhere.
        class_scale: Weight of the classes.
        coord_scale: Weight of the boxes.
        ignore_threshold: IoU above which a box without an object is not trained to have none.
        prior_images: Number of images, of all processes, that draw boxes to the anchors.
        prior_scale: Weight of that.
        norm_cfg: Config of the normalisation; batch normalisation by default.
        act_cfg: Config of the activation; leaky ReLU with slope 0.1 by default.
        train_cfg: Not used; detectors give it.
        test_cfg: ``score_thr``, ``nms_pre``, ``nms``, ``max_per_img``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1280,
        feat_channels: int = 1024,
        anchors: Sequence[Sequence[float]] = COCO_ANCHORS,
        stride: int = 32,
        object_scale: float = 5.0,
        noobject_scale: float = 1.0,
        class_scale: float = 1.0,
        coord_scale: float = 1.0,
        ignore_threshold: float = 0.6,
        prior_images: int = 12800,
        prior_scale: float = 0.01,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
    ) -> None:
        if not anchors or any(len(anchor) != 2 or min(anchor) <= 0 for anchor in anchors):
            raise ValueError(
                f'anchors must be pairs of positive width and height in cells, but are {anchors}'
            )
        sizes = [(width * stride, height * stride) for width, height in anchors]
        super().__init__(
            num_classes,
            [in_channels],
            [feat_channels],
            anchor_generator=dict(
                type='mmdet.YOLOAnchorGenerator', base_sizes=[sizes], strides=[stride]
            ),
            bbox_coder=dict(type='mmdet.YOLOBBoxCoder'),
            featmap_strides=[stride],
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1),
            test_cfg=test_cfg,
        )
        del self.loss_cls, self.loss_conf, self.loss_xy, self.loss_wh
        self.stride = stride
        self.object_scale = object_scale
        self.noobject_scale = noobject_scale
        self.class_scale = class_scale
        self.coord_scale = coord_scale
        self.ignore_threshold = ignore_threshold
        self.prior_images = prior_images
        self.prior_scale = prior_scale
        self.register_buffer('images_seen', torch.zeros((), dtype=torch.long))

    def class_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn the class outputs, of shape (..., C), into probabilities."""
        return logits.softmax(-1)

    def class_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum the losses of class outputs, of shape (P, C), for labels of shape (P,)."""
        return F.cross_entropy(logits, labels, reduction='sum')

    def decode_predictions(
        self, pred_maps: tuple[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode all boxes and scores of a batch.

        Args:
            pred_maps: One tensor of shape (N, A * (5 + C), H, W).

        Returns:
            Boxes in pixels, (N, H * W * A, 4) as x1, y1, x2, y2, and scores, (N, H * W * A, C).
        """
        anchors, outputs = self._flatten(pred_maps[0])
        scores = outputs[..., 4:5].sigmoid() * self.class_probabilities(outputs[..., 5:])
        return self._decode_boxes(anchors, outputs), scores

    def loss_by_feat(
        self,
        pred_maps: tuple[torch.Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the region loss of a batch.

        Args:
            pred_maps: One tensor of shape (N, A * (5 + C), H, W).
            batch_gt_instances: ``bboxes`` in pixels and ``labels`` of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Not used; darknet knows no boxes to ignore.

        Returns:
            The losses of boxes, objectness and classes.
        """
        map_size = pred_maps[0].shape[-2:]
        anchors, outputs = self._flatten(pred_maps[0])
        boxes = self._decode_boxes(anchors, outputs).detach()
        draw_to_anchors = bool(self.images_seen < self.prior_images)
        losses = [
            self._loss_of_image(*arguments, anchors, map_size, draw_to_anchors)
            for arguments in zip(outputs, boxes, batch_gt_instances, strict=True)
        ]
        self.images_seen += len(outputs) * get_world_size()
        names = ('loss_bbox', 'loss_obj', 'loss_cls')
        return {
            name: torch.stack(values).sum() / len(outputs)
            for name, values in zip(names, zip(*losses, strict=True), strict=True)
        }

    def _flatten(self, pred_map: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The anchors, (H * W * A, 4), and the outputs by anchor, (N, H * W * A, 5 + C)."""
        (anchors,) = self.prior_generator.grid_priors(
            [pred_map.shape[-2:]], dtype=pred_map.dtype, device=pred_map.device
        )
        outputs = pred_map.permute(0, 2, 3, 1).reshape(len(pred_map), -1, self.num_attrib)
        return anchors, outputs

    def _decode_boxes(self, anchors: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        coordinates = torch.cat([outputs[..., :2].sigmoid(), outputs[..., 2:4]], -1)
        return self.bbox_coder.decode(anchors, coordinates, self.stride)

    def _assign(self, true_boxes: torch.Tensor, map_size: tuple[int, int]) -> torch.Tensor:
        """The index of the anchor, among H * W * A, of each of G true boxes."""
        height, width = map_size
        sizes = true_boxes[:, 2:] - true_boxes[:, :2]
        shapes = sizes.new_tensor(self.prior_generator.base_sizes[0])
        overlap = torch.minimum(sizes[:, None], shapes).prod(-1)
        union = sizes.prod(-1)[:, None] + shapes.prod(-1) - overlap
        nearest = (overlap / union).argmax(1)
        cells = ((true_boxes[:, :2] + true_boxes[:, 2:]) / 2 / self.stride).long()
        column, row = cells[:, 0].clamp(0, width - 1), cells[:, 1].clamp(0, height - 1)
        return (row * width + column) * self.num_base_priors + nearest

    def _loss_of_image(
        self,
        outputs: torch.Tensor,
        boxes: torch.Tensor,
        truth: InstanceData,
        anchors: torch.Tensor,
        map_size: tuple[int, int],
        draw_to_anchors: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        true_boxes, labels = truth.bboxes, truth.labels
        target = outputs.new_tensor(CENTRE_OF_CELL).repeat(len(outputs), 1)
        box_weight = outputs.new_full((len(outputs),), self.prior_scale * draw_to_anchors)
        target_objectness = outputs.new_zeros(len(outputs))
        object_weight = outputs.new_full((len(outputs),), self.noobject_scale)
        class_loss = outputs[:, 5:].sum() * 0
        if len(true_boxes):
            overlaps = bbox_overlaps(boxes, true_boxes)
            object_weight[overlaps.amax(1) > self.ignore_threshold] = 0
            owner = outputs.new_full((len(outputs),), -1, dtype=torch.long)
            order = torch.arange(len(true_boxes), device=owner.device)
            owner.scatter_reduce_(0, self._assign(true_boxes, map_size), order, 'amax')
            positive = (owner >= 0).nonzero()[:, 0]
            owner = owner[positive]
            owned = true_boxes[owner]
            target[positive] = self.bbox_coder.encode(anchors[positive], owned, self.stride)
            image_area = map_size[0] * map_size[1] * self.stride**2
            area = (owned[:, 2:] - owned[:, :2]).prod(-1) / image_area
            box_weight[positive] = self.coord_scale * (2 - area)
            target_objectness[positive] = overlaps[positive, owner]
            object_weight[positive] = self.object_scale
            class_loss = self.class_loss(outputs[positive, 5:], labels[owner])
        coordinates = torch.cat([outputs[:, :2].sigmoid(), outputs[:, 2:4]], -1)
        return (
            (box_weight[:, None] * (coordinates - target) ** 2).sum() / 2,
            (object_weight * (outputs[:, 4].sigmoid() - target_objectness) ** 2).sum() / 2,
            self.class_scale * class_loss,
        )
