"""The head of YOLO, version 1."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from mmengine.structures import InstanceData
from torch import nn

from mmlayerwise.models.dense_heads.darknet_predictions import DarknetPredictionsMixin
from mmlayerwise.models.layers.locally_connected import LocallyConnected2d
from mmlayerwise.registry import MODELS


class _Targets(NamedTuple):
    """What the cells with an object of one image, P of the S * S, are trained for."""

    cells: torch.Tensor  # their indices, (P,)
    predictors: torch.Tensor  # the responsible predictor of each, (P,)
    coordinates: torch.Tensor  # x and y in the cell, roots of w and h in the image, (P, 4)
    objectness: torch.Tensor  # IoU of the predicted and the true box, (P,)
    labels: torch.Tensor  # (P,)


@MODELS.register_module()
class YOLOv1Head(DarknetPredictionsMixin, BaseDenseHead):
    """A grid of cells, each with a few boxes and one set of class probabilities.

    Redmon et al., 2016 (https://arxiv.org/abs/1506.02640). Each predictor of a cell gives x and y
    relative to the cell, the square roots of w and h relative to the image, and an objectness; all
    outputs are linear. They are stored as darknet stores them: the classes of all cells, then the
    objectness of all predictors, then all boxes.

    The loss is the paper's equation 3, divided by the number of images. Responsible for an object
    is, in the cell of its centre, the predictor whose box overlaps it most, or is nearest (root of
    the summed squared differences) if none does; its objectness is trained to be that IoU. A cell
    has one object: the first in the annotations.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the input.
        fc_channels: Width of the fully connected layer before the output; None for none.
        local_channels: Channels of a 3x3 locally connected layer in its place, as in darknet's
            later ``yolov1.cfg``; None for none. Exactly one of the two is given.
        grid_size: Rows and columns of the grid, S; that of the input.
        stride: Height and width of a cell in pixels.
        num_predictors: Boxes of a cell, B.
        dropout_rate: Of dropout before the last layer.
        coord_scale: Weight of the boxes.
        noobject_scale: Weight of objectness of predictors that are not responsible.
        train_cfg: Not used; detectors give it.
        test_cfg: ``score_thr``, ``nms_pre``, ``nms``, ``max_per_img``.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1024,
        fc_channels: int | None = 4096,
        local_channels: int | None = None,
        grid_size: int = 7,
        stride: int = 64,
        num_predictors: int = 2,
        dropout_rate: float = 0.5,
        coord_scale: float = 5.0,
        noobject_scale: float = 0.5,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Normal', layer='Linear', std=0.01))
        if (fc_channels is None) == (local_channels is None):
            raise ValueError(
                'give either fc_channels (the paper) or local_channels (darknet), but they are '
                f'{fc_channels} and {local_channels}'
            )
        self.num_classes = num_classes
        self.grid_size = grid_size
        self.stride = stride
        self.num_predictors = num_predictors
        self.coord_scale = coord_scale
        self.noobject_scale = noobject_scale
        self.test_cfg = test_cfg
        cells = grid_size**2
        if local_channels is None:
            self.hidden = nn.Sequential(
                nn.Flatten(), nn.Linear(in_channels * cells, fc_channels), nn.LeakyReLU(0.1)
            )
            width = fc_channels
        else:
            local = LocallyConnected2d(in_channels, local_channels, (grid_size, grid_size))
            self.hidden = nn.Sequential(local, nn.LeakyReLU(0.1), nn.Flatten())
            width = local_channels * cells
        self.dropout = nn.Dropout(dropout_rate)
        self.fc = nn.Linear(width, cells * (num_classes + 5 * num_predictors))

    def forward(self, x: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Predict every cell.

        Args:
            x: One tensor of shape (N, in_channels, S, S).

        Returns:
            Class probabilities, (N, S * S, C); objectness, (N, S * S, B); boxes, (N, S * S, B, 4).

        Raises:
            ValueError: If the input has another size.
        """
        (feature,) = x
        side, size = self.grid_size, self.grid_size * self.stride
        if tuple(feature.shape[-2:]) != (side, side):
            raise ValueError(
                f'YOLOv1 has weights for a grid of {side}x{side}, but the feature map is '
                f'{tuple(feature.shape[-2:])}; resize the images to {size}x{size} '
                'without keeping their ratio, or set grid_size of the head'
            )
        cells, boxes = side**2, self.num_predictors
        outputs = self.fc(self.dropout(self.hidden(feature)))
        classes, objectness, coordinates = outputs.split(
            [cells * self.num_classes, cells * boxes, cells * boxes * 4], dim=1
        )
        return (
            classes.unflatten(1, (cells, self.num_classes)),
            objectness.unflatten(1, (cells, boxes)),
            coordinates.unflatten(1, (cells, boxes, 4)),
        )

    def decode_predictions(
        self, classes: torch.Tensor, objectness: torch.Tensor, coordinates: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode all boxes and scores of a batch.

        Args:
            classes: Class probabilities, (N, S * S, C).
            objectness: (N, S * S, B).
            coordinates: (N, S * S, B, 4).

        Returns:
            Boxes in pixels, (N, S * S * B, 4) as x1, y1, x2, y2, and scores, (N, S * S * B, C),
            which are cut to [0, 1] since the outputs are linear.
        """
        scores = objectness[..., None] * classes[:, :, None]
        return self._decode_boxes(coordinates).flatten(1, 2), scores.clamp(0, 1).flatten(1, 2)

    def loss_by_feat(
        self,
        classes: torch.Tensor,
        objectness: torch.Tensor,
        coordinates: torch.Tensor,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the sum-squared loss of a batch.

        Args:
            classes: Class probabilities, (N, S * S, C).
            objectness: (N, S * S, B).
            coordinates: (N, S * S, B, 4).
            batch_gt_instances: ``bboxes`` in pixels and ``labels`` of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Not used; the paper knows no boxes to ignore.

        Returns:
            The losses of boxes, objectness and classes.
        """
        target_objectness = torch.zeros_like(objectness)
        object_weight = torch.full_like(objectness, self.noobject_scale)
        box_loss, class_loss = coordinates.sum() * 0, classes.sum() * 0
        for image, truth in enumerate(batch_gt_instances):
            if not len(truth.bboxes):
                continue
            targets = self._get_targets(coordinates[image].detach(), truth)
            cells, predictors = targets.cells, targets.predictors
            errors = coordinates[image, cells, predictors] - targets.coordinates
            box_loss = box_loss + errors.square().sum()
            probabilities = nn.functional.one_hot(targets.labels, self.num_classes)
            class_loss = class_loss + (classes[image, cells] - probabilities).square().sum()
            target_objectness[image, cells, predictors] = targets.objectness
            object_weight[image, cells, predictors] = 1
        object_loss = (object_weight * (objectness - target_objectness).square()).sum()
        count = len(classes)
        return dict(
            loss_bbox=self.coord_scale * box_loss / count,
            loss_obj=object_loss / count,
            loss_cls=class_loss / count,
        )

    def _decode_boxes(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Boxes in pixels of coordinates of shape (..., S * S, B, 4)."""
        cell = torch.arange(self.grid_size**2, device=coordinates.device)
        column_and_row = torch.stack([cell % self.grid_size, cell // self.grid_size], -1)
        centres = (coordinates[..., :2] + column_and_row[:, None]) * self.stride
        sizes = coordinates[..., 2:].square() * self.grid_size * self.stride
        return bbox_cxcywh_to_xyxy(torch.cat([centres, sizes], -1))

    def _get_targets(self, coordinates: torch.Tensor, truth: InstanceData) -> _Targets:
        """Find the responsible predictors of an image with boxes."""
        side = self.grid_size
        boxes = truth.bboxes.to(coordinates)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / self.stride
        column_and_row = centres.long().clamp(0, side - 1)
        sizes = (boxes[:, 2:] - boxes[:, :2]) / (side * self.stride)
        order = torch.arange(len(boxes), device=boxes.device)
        first = order.new_full((side**2,), len(boxes))
        first.scatter_reduce_(0, column_and_row[:, 1] * side + column_and_row[:, 0], order, 'amin')
        cells = (first < len(boxes)).nonzero()[:, 0]
        chosen = first[cells]

        predicted = self._decode_boxes(coordinates)[cells]
        count = self.num_predictors
        overlaps = bbox_overlaps(
            predicted.flatten(0, 1), boxes[chosen].repeat_interleave(count, 0), is_aligned=True
        ).unflatten(0, (-1, count))
        offsets = (centres - column_and_row)[chosen]
        true_shape = torch.cat([offsets / side, sizes[chosen]], -1)
        shape = torch.cat([coordinates[cells, :, :2] / side, coordinates[cells, :, 2:] ** 2], -1)
        distances = (shape - true_shape[:, None]).norm(dim=-1)
        overlap, most = overlaps.max(1)
        predictors = torch.where(overlap > 0, most, distances.argmin(1))
        return _Targets(
            cells,
            predictors,
            torch.cat([offsets, sizes[chosen].sqrt()], -1),
            overlap,
            truth.labels[chosen],
        )
