"""YOLOX without non-maximum suppression."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import YOLOXHead
from mmdet.utils import reduce_mean
from mmengine.model import bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from mmlayerwise.registry import MODELS, TASK_UTILS


@MODELS.register_module()
class YOLOXNMSFreeHead(YOLOXHead):
    """YOLOX's head with a branch that selects one prediction for each object.

    The optional last step of the YOLOX paper's road map (https://arxiv.org/abs/2107.08430, section
    2.1), after the positive sample selector of Zhou et al. (https://arxiv.org/abs/2101.11782): two
    more 3x3 convolutions a level on the box branch's features and a map of one channel, whose
    probability multiplies the score. It learns from a one-to-one assignment, and its loss does not
    reach the rest of the detector.

    Args:
        num_classes: Number of classes without background.
        in_channels: Channels of every level.
        selector_assigner: Config of the one-to-one assigner.
        loss_selector: Config of the loss of the selected scores; it gets logits of shape
            (num_priors, num_classes) and labels, ``num_classes`` for none.
        kwargs: As for mmdet's ``YOLOXHead``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        selector_assigner: dict | None = None,
        loss_selector: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.selector_assigner = TASK_UTILS.build(
            selector_assigner or dict(type='mmlayerwise.OneToOneAssigner')
        )
        self.loss_selector = MODELS.build(
            loss_selector or dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)
        )

    def _init_layers(self) -> None:
        super()._init_layers()
        self.multi_level_selector_convs = nn.ModuleList(
            self._selector_convs() for _ in self.strides
        )
        self.multi_level_conv_selector = nn.ModuleList(
            nn.Conv2d(self.feat_channels, 1, 1) for _ in self.strides
        )

    def _selector_convs(self) -> nn.Sequential:
        layers = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        return nn.Sequential(
            *[
                ConvModule(self.feat_channels, self.feat_channels, 3, padding=1, **layers)
                for _ in range(2)
            ]
        )

    def init_weights(self) -> None:
        """Initialise as YOLOX does; a selection starts out unlikely."""
        super().init_weights()
        for conv in self.multi_level_conv_selector:
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """Predict every level.

        Args:
            x: Features of each level.

        Returns:
            Of each level the logits of classes, the boxes, the logits of objectness and of the
            selection, each of shape (N, channels, H, W).
        """
        outputs = []
        for level, feature in enumerate(x):
            cls_feature = self.multi_level_cls_convs[level](feature)
            reg_feature = self.multi_level_reg_convs[level](feature)
            selector_feature = self.multi_level_selector_convs[level](reg_feature.detach())
            outputs.append(
                (
                    self.multi_level_conv_cls[level](cls_feature),
                    self.multi_level_conv_reg[level](reg_feature),
                    self.multi_level_conv_obj[level](reg_feature),
                    self.multi_level_conv_selector[level](selector_feature),
                )
            )
        return tuple(map(list, zip(*outputs, strict=True)))

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        objectnesses: Sequence[Tensor],
        selections: Sequence[Tensor],
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
        batch_gt_instances_ignore: Sequence[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            cls_scores: Logits of the classes on each level.
            bbox_preds: Boxes on each level, as YOLOX encodes them.
            objectnesses: Logits of objectness on each level.
            selections: Logits of the selection on each level.
            batch_gt_instances: ``bboxes`` and ``labels`` of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Ignored objects of each image.

        Returns:
            YOLOX's losses and ``loss_selector``.
        """
        losses = super().loss_by_feat(
            cls_scores,
            bbox_preds,
            objectnesses,
            batch_gt_instances,
            batch_img_metas,
            batch_gt_instances_ignore,
        )
        parts = [_flat(maps) for maps in (cls_scores, bbox_preds, objectnesses)]
        cls_logits, boxes, objectness = (part.detach() for part in parts)
        priors = torch.cat(
            self.prior_generator.grid_priors(
                [one.shape[2:] for one in cls_scores],
                dtype=cls_logits.dtype,
                device=cls_logits.device,
                with_stride=True,
            )
        )
        logits = joint_logit(cls_logits, objectness, _flat(selections))
        labels = self._selected_labels(
            priors, logits, self._bbox_decode(priors, boxes), batch_gt_instances
        )
        num_selected = (labels < self.num_classes).sum().to(logits)
        losses['loss_selector'] = self.loss_selector(
            logits.flatten(0, 1), labels.flatten(), avg_factor=reduce_mean(num_selected).clamp(1)
        )
        return losses

    @torch.no_grad()
    def _selected_labels(
        self,
        priors: Tensor,
        logits: Tensor,
        boxes: Tensor,
        batch_gt_instances: Sequence[InstanceData],
    ) -> Tensor:
        """Class that each prediction is to select, int64 of shape (N, num_priors)."""
        middles = torch.cat([priors[:, :2] + priors[:, 2:] / 2, priors[:, 2:]], 1)
        labels = logits.new_full(logits.shape[:2], self.num_classes, dtype=torch.long)
        for image, gt_instances in enumerate(batch_gt_instances):
            if not len(gt_instances):
                continue
            predictions = InstanceData(
                priors=middles, bboxes=boxes[image], scores=logits[image].sigmoid()
            )
            result = self.selector_assigner.assign(predictions, gt_instances)
            selected = result.gt_inds > 0
            labels[image, selected] = result.labels[selected]
        return labels

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        objectnesses: list[Tensor],
        selections: list[Tensor],
        batch_img_metas: list[dict] | None = None,
        cfg: Any = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Decode the predictions, without suppression.

        Args:
            cls_scores: Logits of the classes on each level.
            bbox_preds: Boxes on each level, as YOLOX encodes them.
            objectnesses: Logits of objectness on each level.
            selections: Logits of the selection on each level.
            batch_img_metas: Meta information of each image.
            cfg: ``score_thr`` and ``max_per_img``; ``test_cfg`` by default.
            rescale: Whether boxes are of the original image.
            with_nms: Not used; mmdet's detectors ask for it by default.

        Returns:
            The best ``bboxes``, ``scores`` and ``labels`` of each image, in descending order.
        """
        cfg = self.test_cfg if cfg is None else cfg
        selected = [
            joint_logit(objectness, selection)
            for objectness, selection in zip(objectnesses, selections, strict=True)
        ]
        results = super().predict_by_feat(
            cls_scores, bbox_preds, selected, batch_img_metas, cfg, rescale, with_nms=False
        )
        return [
            one[one.scores.argsort(descending=True)[: cfg.get('max_per_img', 100)]]
            for one in results
        ]


def _flat(maps: Sequence[Tensor]) -> Tensor:
    """Maps of shape (N, C, H, W) as one tensor of shape (N, num_priors, C)."""
    return torch.cat([one.flatten(2).transpose(1, 2) for one in maps], 1)


def joint_logit(*logits: Tensor) -> Tensor:
    """The logit of the product of probabilities that are given as logits.

    Args:
        logits: Tensors of shapes that broadcast.

    Returns:
        log p / (1 - p) with p the product of the sigmoids.
    """
    log_probability = sum(logsigmoid(one) for one in logits)
    # 1 - p = -expm1(log p) keeps its digits where p is close to 1.
    complement = -torch.expm1(log_probability)
    return log_probability - complement.clamp(min=torch.finfo(complement.dtype).tiny).log()
