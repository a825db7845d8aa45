"""CenterNet's head for backbones of several stacks."""

from typing import Any

from mmdet.models.dense_heads import CenterNetHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class CenterNetStackedHead(BaseDenseHead):
    """One CenterNet head on each stack of an hourglass network.

    Every stack learns the same targets, the losses are averaged over the stacks, and the last stack
    predicts (https://arxiv.org/abs/1904.07850, section 4.1 and the authors' code).

    Args:
        num_stacks: Number of stacks.
        train_cfg: Not used; detectors pass it.
        test_cfg: ``topk``, ``local_maximum_kernel`` and ``max_per_img``.
        kwargs: As for mmdet's ``CenterNetHead``.
    """

    def __init__(
        self,
        num_stacks: int = 2,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.test_cfg = test_cfg
        self.stacks = nn.ModuleList(
            CenterNetHead(train_cfg=train_cfg, test_cfg=test_cfg, **kwargs)
            for _ in range(num_stacks)
        )

    def init_weights(self) -> None:
        """Initialise every stack as CenterNet does."""
        for stack in self.stacks:
            stack.init_weights()

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """Predict from every stack.

        Args:
            x: Features of each stack, each of shape (N, in_channels, H, W).

        Returns:
            Heat maps in [0, 1] of shape (N, num_classes, H, W), sizes and offsets of shape
            (N, 2, H, W), one of each stack.
        """
        maps = [stack.forward_single(one) for stack, one in zip(self.stacks, x, strict=True)]
        return tuple(map(list, zip(*maps, strict=True)))

    def loss_by_feat(
        self,
        center_heatmap_preds: list[Tensor],
        wh_preds: list[Tensor],
        offset_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Average CenterNet's losses over the stacks.

        Args:
            center_heatmap_preds: Heat maps of each stack.
            wh_preds: Sizes of each stack.
            offset_preds: Offsets of each stack.
            batch_gt_instances: ``bboxes`` and ``labels`` of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Not used, as in mmdet's head.

        Returns:
            Losses of heat map, size and offset.
        """
        losses = [
            stack.loss_by_feat([heatmap], [wh], [offset], batch_gt_instances, batch_img_metas)
            for stack, heatmap, wh, offset in zip(
                self.stacks, center_heatmap_preds, wh_preds, offset_preds, strict=True
            )
        ]
        return {name: sum(one[name] for one in losses) / len(losses) for name in losses[0]}

    def predict_by_feat(
        self,
        center_heatmap_preds: list[Tensor],
        wh_preds: list[Tensor],
        offset_preds: list[Tensor],
        **kwargs: Any,
    ) -> list[InstanceData]:
        """Decode the last stack.

        Args:
            center_heatmap_preds: Heat maps of each stack.
            wh_preds: Sizes of each stack.
            offset_preds: Offsets of each stack.
            kwargs: As for mmdet's ``CenterNetHead``.

        Returns:
            ``bboxes``, ``scores`` and ``labels`` of each image.
        """
        last = [maps[-1:] for maps in (center_heatmap_preds, wh_preds, offset_preds)]
        return self.stacks[-1].predict_by_feat(*last, **kwargs)
