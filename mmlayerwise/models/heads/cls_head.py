"""What every classification head does with its logits."""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule

from mmlayerwise.registry import MODELS
from mmlayerwise.structures import ClassificationDataSample
from mmlayerwise.utils.errors import UserError

CROSS_ENTROPY = {'type': 'torch.nn.CrossEntropyLoss'}


class ClsHead(BaseModule, metaclass=ABCMeta):
    """Loss and prediction from logits; subclasses say how features become logits.

    Args:
        num_classes: Number of classes.
        loss: Config of a loss module called with logits of shape (N, num_classes) and labels of
            shape (N,); any registered one or a class of torch by its full name, so that
            ``dict(type='torch.nn.CrossEntropyLoss', label_smoothing=0.1)`` smooths the labels.
        loss_weight: Factor on the loss.
        in_index: Which of the given feature maps to use.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        num_classes: int,
        loss: dict = CROSS_ENTROPY,
        loss_weight: float = 1.0,
        in_index: int = -1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_classes < 1:
            raise UserError(f'num_classes must be at least 1, but is {num_classes}')
        self.num_classes = num_classes
        self.loss_module = MODELS.build(loss)
        self.loss_weight = loss_weight
        self.in_index = in_index

    @abstractmethod
    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute logits.

        Args:
            features: Feature maps of the backbone or neck.

        Returns:
            Float tensor of shape (N, num_classes).
        """

    def loss(
        self, features: Sequence[torch.Tensor], data_samples: list[ClassificationDataSample]
    ) -> dict[str, torch.Tensor]:
        """Compute the loss of a batch.

        Args:
            features: Feature maps of the backbone or neck.
            data_samples: N samples with ``gt_label``.

        Returns:
            The weighted loss under the name ``loss_cls``; mmengine reports the sum of all losses as
            ``loss``.

        Raises:
            UserError: If a label is not in ``[0, num_classes)``.
        """
        labels = torch.cat([sample.gt_label for sample in data_samples])
        self._check_labels(labels)
        logits = self(features)
        labels = labels.to(logits.device)
        return {'loss_cls': self.loss_weight * self.loss_module(logits, labels)}

    def predict(
        self,
        features: Sequence[torch.Tensor],
        data_samples: list[ClassificationDataSample] | None = None,
    ) -> list[ClassificationDataSample]:
        """Predict the classes of a batch.

        Args:
            features: Feature maps of the backbone or neck.
            data_samples: Samples to write to; new ones by default.

        Returns:
            N samples with ``pred_score``, the softmax of the logits, and ``pred_label``.
        """
        scores = self(features).float().softmax(dim=1)
        labels = scores.argmax(dim=1)
        if data_samples is None:
            data_samples = [ClassificationDataSample() for _ in scores]
        for sample, score, label in zip(data_samples, scores, labels, strict=True):
            sample.set_pred_score(score).set_pred_label(label)
        return data_samples

    def _check_labels(self, labels: torch.Tensor) -> None:
        # On a GPU the check would wait for the device; there the loss kernel asserts it.
        if labels.is_cuda or labels.numel() == 0:
            return
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_classes:
            raise UserError(
                f'the labels of the data range from {low} to {high}, but the head has '
                f'num_classes={self.num_classes}, so they must be in 0..{self.num_classes - 1}; '
                "set the head's num_classes to the number of classes of the data set"
            )
