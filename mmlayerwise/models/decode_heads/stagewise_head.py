"""What heads have in common that score at several stages, each with its own loss."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import ConfigType, SampleList, add_prefix

from mmlayerwise.utils.errors import UserError


class StagewiseHead(BaseDecodeHead):
    """A head whose every stage is trained on the labels and whose last one predicts.

    Subclasses say in :meth:`stage_scores` what the stages score. The losses of the last stage have
    their usual names, those of the others are ``stage0.loss_ce`` and so on.

    Args:
        in_channels: Channels of the trunk's maps.
        channels: Channels that the last stage scores.
        stage_weights: Factors on the losses of the stages, 1 by default.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        stage_weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        defaults = dict(
            in_index=list(range(len(in_channels))),
            input_transform='multiple_select',
            dropout_ratio=0.0,
        )
        super().__init__(in_channels, channels, **{**defaults, **kwargs})
        del self.conv_seg  # every stage has its own
        self.stage_weights = stage_weights

    @abstractmethod
    def stage_scores(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Score at every stage.

        Args:
            inputs: Outputs of the trunk.

        Returns:
            Scores of shape (N, num_classes, H_i, W_i) of each stage i, the predicted ones last.
        """

    def training_outputs(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """What the losses look at, :meth:`stage_scores`; a compression follows all of it."""
        return self.stage_scores(inputs)

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Score with the last stage.

        Args:
            inputs: Outputs of the trunk.

        Returns:
            Scores of shape (N, num_classes, H, W).
        """
        return self.stage_scores(inputs)[-1]

    def loss(
        self,
        inputs: tuple[torch.Tensor, ...],
        batch_data_samples: SampleList,
        train_cfg: ConfigType,
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of all stages.

        Args:
            inputs: Outputs of the trunk.
            batch_data_samples: Samples with label maps of shape (1, H, W).
            train_cfg: Not used.

        Returns:
            Losses and accuracies.

        Raises:
            UserError: If there are not as many weights as stages.
        """
        scores = self.stage_scores(inputs)
        weights = self.stage_weights or [1.0] * len(scores)
        if len(weights) != len(scores):
            raise UserError(
                f'{type(self).__name__}: stage_weights are those of {len(scores)} stages, not '
                f'{list(weights)}'
            )
        losses = {}
        for stage, (of_stage, weight) in enumerate(zip(scores, weights, strict=True)):
            values = {
                name: weight * value if 'loss' in name else value
                for name, value in self.loss_by_feat(of_stage, batch_data_samples).items()
            }
            last = stage == len(scores) - 1
            losses.update(values if last else add_prefix(values, f'stage{stage}'))
        return losses
