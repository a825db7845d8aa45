"""The head of YOLOv4."""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from mmlayerwise.models.dense_heads.darknet_predictions import DarknetPredictionsMixin
from mmlayerwise.registry import MODELS

COCO_ANCHORS = (
    ((142, 110), (192, 243), (459, 401)),
    ((36, 75), (76, 55), (72, 146)),
    ((12, 16), (19, 36), (40, 28)),
)
BINARY_CROSS_ENTROPY = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='sum')


@MODELS.register_module()
class YOLOv4Head(DarknetPredictionsMixin, YOLOV3Head):
    """YOLOv3's layers with YOLOv4's decoding, assignment and box loss.

    Bochkovskiy et al., 2020 (https://arxiv.org/abs/2004.10934); numbers from darknet's
    ``yolov4.cfg``. The centre of a box in cell (i, j) is s * sigmoid(t) - (s - 1) / 2 from the
    cell's corner, so that s > 1 reaches its border. A true box belongs, in the cell of its centre,
    to the anchor nearest in shape of all levels and to every other one whose shape overlaps its
    own by more than ``iou_threshold``. Every such pair has a CIoU loss; an anchor with several true
    boxes is trained for all their classes. Other anchors are trained to have no object, unless the
    predicted box overlaps a true one by more than ``ignore_threshold``. The losses are sums
    divided by the number of images.

    Darknet ignores a box without an object only if it also predicts the class; the paper does not
    say so, and this head does not ask.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of each level, coarsest first.
        out_channels: Channels before the output of each level.
        anchors: Widths and heights in pixels of the anchors of each level, coarsest first.
        strides: Strides of the levels.
        scale_xy: The factor s of each level.
        iou_threshold: Overlap of shapes from which an anchor belongs to a true box.
        ignore_threshold: Overlap from which a box without an object is not trained to have none.
        label_smoothing: Targets of the classes are 1 - label_smoothing / 2 and
            label_smoothing / 2.
        loss_bbox: Config of the loss of decoded boxes.
        loss_cls: Config of the loss of class outputs.
        loss_conf: Config of the loss of objectness.
        norm_cfg: Config of the normalisation; batch normalisation by default.
        act_cfg: Config of the activation; leaky ReLU with slope 0.1 by default.
        train_cfg: Not used; detectors give it.
        test_cfg: ``score_thr``, ``nms_pre``, ``nms``, ``max_per_img``; ``nms`` may be
            ``dict(type='diou_nms', iou_threshold=0.45, beta=0.6)``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] = (512, 256, 128),
        out_channels: Sequence[int] = (1024, 512, 256),
        anchors: Sequence[Sequence[Sequence[float]]] = COCO_ANCHORS,
        strides: Sequence[int] = (32, 16, 8),
        scale_xy: Sequence[float] = (1.05, 1.1, 1.2),
        iou_threshold: float = 0.213,
        ignore_threshold: float = 0.7,
        label_smoothing: float = 0.0,
        loss_bbox: dict | None = None,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_conf: dict = BINARY_CROSS_ENTROPY,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
    ) -> None:
        counts = {len(x) for x in (in_channels, out_channels, anchors, strides, scale_xy)}
        if len(counts) != 1:
            raise ValueError(
                'in_channels, out_channels, anchors, strides and scale_xy need one entry for each '
                f'level, but have {len(in_channels)}, {len(out_channels)}, {len(anchors)}, '
                f'{len(strides)} and {len(scale_xy)}'
            )
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), but is {label_smoothing}')
        super().__init__(
            num_classes,
            in_channels,
            out_channels,
            anchor_generator=dict(
                type='mmdet.YOLOAnchorGenerator',
                base_sizes=[[tuple(anchor) for anchor in level] for level in anchors],
                strides=list(strides),
            ),
            bbox_coder=dict(type='mmdet.YOLOBBoxCoder'),
            featmap_strides=strides,
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1),
            loss_cls=loss_cls,
            loss_conf=loss_conf,
            test_cfg=test_cfg,
        )
        del self.loss_xy, self.loss_wh
        self.loss_bbox = MODELS.build(
            loss_bbox or dict(type='mmdet.CIoULoss', loss_weight=0.07, reduction='sum')
        )
        self.scale_xy = tuple(scale_xy)
        self.iou_threshold = iou_threshold
        self.ignore_threshold = ignore_threshold
        self.label_smoothing = label_smoothing

    def decode_predictions(
        self, pred_maps: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode all boxes and scores of a batch.

        Args:
            pred_maps: One tensor of shape (N, A * (5 + C), H, W) a level, coarsest first.

        Returns:
            Boxes in pixels, (N, P, 4) as x1, y1, x2, y2, and scores, (N, P, C), of all P places
            and anchors of all levels.
        """
        boxes, outputs = self._flatten(pred_maps)
        return boxes, outputs[..., 4:5].sigmoid() * outputs[..., 5:].sigmoid()

    def loss_by_feat(
        self,
        pred_maps: Sequence[torch.Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of a batch.

        Args:
            pred_maps: One tensor of shape (N, A * (5 + C), H, W) a level, coarsest first.
            batch_gt_instances: ``bboxes`` in pixels and ``labels`` of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Not used; darknet knows no boxes to ignore.

        Returns:
            The losses of boxes, objectness and classes.
        """
        sizes = [pred_map.shape[-2:] for pred_map in pred_maps]
        boxes, outputs = self._flatten(pred_maps)
        losses = [
            self._loss_of_image(*arguments, sizes)
            for arguments in zip(outputs, boxes, batch_gt_instances, strict=True)
        ]
        names = ('loss_bbox', 'loss_conf', 'loss_cls')
        return {
            name: torch.stack(values).sum() / len(outputs)
            for name, values in zip(names, zip(*losses, strict=True), strict=True)
        }

    def assign(
        self, true_boxes: torch.Tensor, sizes: Sequence[tuple[int, int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Find the anchors of true boxes.

        Args:
            true_boxes: In pixels, (G, 4) as x1, y1, x2, y2.
            sizes: Height and width of each level's map.

        Returns:
            Of each of M pairs the index of the anchor, among all of all levels, and that of the
            true box; both of shape (M,).
        """
        shapes = true_boxes.new_tensor(self.prior_generator.base_sizes)
        wide_high = true_boxes[:, 2:] - true_boxes[:, :2]
        overlap = torch.minimum(wide_high[:, None, None], shapes).prod(-1)
        union = wide_high.prod(-1)[:, None, None] + shapes.prod(-1) - overlap
        overlaps = (overlap / union).flatten(1)
        belongs = overlaps > self.iou_threshold
        belongs.scatter_(1, overlaps.argmax(1, keepdim=True), True)
        owners, shape_indices = belongs.nonzero().unbind(1)

        levels = shape_indices // self.num_base_priors
        strides = true_boxes.new_tensor(self.featmap_strides)[levels, None]
        map_sizes = levels.new_tensor([tuple(size) for size in sizes])
        first = (map_sizes.prod(1) * self.num_base_priors).cumsum(0).roll(1)
        first[0] = 0
        height, width = map_sizes[levels].unbind(1)
        cells = ((true_boxes[:, :2] + true_boxes[:, 2:])[owners] / 2 / strides).long().clamp(min=0)
        column, row = cells[:, 0].minimum(width - 1), cells[:, 1].minimum(height - 1)
        places = (row * width + column) * self.num_base_priors
        return first[levels] + places + shape_indices % self.num_base_priors, owners

    def _loss_of_image(
        self,
        outputs: torch.Tensor,
        boxes: torch.Tensor,
        truth: InstanceData,
        sizes: Sequence[tuple[int, int]],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        target = torch.zeros_like(outputs[:, 4])
        weight = torch.ones_like(target)
        box_loss = class_loss = outputs.sum() * 0
        if len(truth.bboxes):
            anchors, owners = self.assign(truth.bboxes, sizes)
            overlaps = bbox_overlaps(boxes.detach(), truth.bboxes).amax(1)
            weight[overlaps > self.ignore_threshold] = 0
            target[anchors] = weight[anchors] = 1
            box_loss = self.loss_bbox(boxes[anchors], truth.bboxes[owners])
            positive = target.nonzero()[:, 0]
            classes = torch.zeros_like(outputs[:, 5:])
            classes[anchors, truth.labels[owners]] = 1
            classes = classes * (1 - self.label_smoothing) + self.label_smoothing / 2
            class_loss = self.loss_cls(outputs[positive, 5:], classes[positive])
        return box_loss, self.loss_conf(outputs[:, 4], target, weight=weight), class_loss

    def _flatten(self, pred_maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The decoded boxes, (N, P, 4), and the outputs, (N, P, 5 + C), of all levels."""
        sizes = [pred_map.shape[-2:] for pred_map in pred_maps]
        priors = self.prior_generator.grid_priors(
            sizes, dtype=pred_maps[0].dtype, device=pred_maps[0].device
        )
        levels, boxes = [], []
        for pred_map, anchors, stride, scale in zip(
            pred_maps, priors, self.featmap_strides, self.scale_xy, strict=True
        ):
            outputs = pred_map.permute(0, 2, 3, 1).reshape(len(pred_map), -1, self.num_attrib)
            centre = scale * outputs[..., :2].sigmoid() - (scale - 1) / 2
            coordinates = torch.cat([centre, outputs[..., 2:4]], -1)
            boxes.append(self.bbox_coder.decode(anchors, coordinates, stride))
            levels.append(outputs)
        return torch.cat(boxes, 1), torch.cat(levels, 1)
