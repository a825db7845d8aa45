"""A whole image classifier."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModel, ModuleList
from torch import nn

from mmlayerwise.registry import MODELS
from mmlayerwise.structures import ClassificationDataSample

Features = tuple[torch.Tensor, ...]


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Backbone, optional neck and head that give every image one class.

    Args:
        backbone: Config of the backbone; returns a tensor or a tuple of feature maps.
        head: Config of the head, with ``forward``, ``loss`` and ``predict`` as in
            :class:`~mmlayerwise.models.heads.LinearClsHead`.
        neck: Config of the neck, which takes and returns a tuple of tensors.
        auxiliary_head: Config, or list of configs, of heads that are trained on inner features of
            the backbone and left out of predictions. Each chooses its feature map by ``in_index``.
        data_preprocessor: Config of the preprocessor; by default
            :class:`~mmlayerwise.models.data_preprocessors.ClassificationDataPreprocessor` without
            normalisation.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict | None = None,
        neck: dict | None = None,
        auxiliary_head: dict | Sequence[dict] | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if data_preprocessor is None:
            data_preprocessor = {}
        if isinstance(data_preprocessor, dict):
            data_preprocessor = {
                'type': 'mmlayerwise.ClassificationDataPreprocessor',
                **data_preprocessor,
            }
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(neck)
        if head is not None:
            self.head = MODELS.build(head)
        if auxiliary_head is not None:
            heads = [auxiliary_head] if isinstance(auxiliary_head, dict) else auxiliary_head
            self.auxiliary_head = ModuleList(MODELS.build(config) for config in heads)

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return hasattr(self, 'neck')

    @property
    def with_head(self) -> bool:
        """Whether there is a head."""
        return hasattr(self, 'head')

    @property
    def with_auxiliary_head(self) -> bool:
        """Whether there are auxiliary heads."""
        return hasattr(self, 'auxiliary_head')

    def forward(
        self,
        inputs: torch.Tensor,
        data_samples: list[ClassificationDataSample] | None = None,
        mode: str = 'tensor',
    ) -> torch.Tensor | Features | dict[str, torch.Tensor] | list[ClassificationDataSample]:
        """Run the network in one of mmengine's three modes.

        Args:
            inputs: Preprocessed images, float tensor of shape (N, C, H, W).
            data_samples: One sample an image; with ``gt_label`` in mode 'loss'.
            mode: 'tensor' gives logits of shape (N, num_classes), or the features if there is no
                head; 'loss' a dict of losses; 'predict' the samples with predictions.

        Returns:
            What ``mode`` says.

        Raises:
            ValueError: If the mode is unknown.
        """
        if mode == 'tensor':
            features = self.extract_feat(inputs)
            return self.head(features) if self.with_head else features
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', but is {mode!r}")

    def extract_feat(self, inputs: torch.Tensor) -> Features:
        """Compute what the head takes.

        Args:
            inputs: Preprocessed images, float tensor of shape (N, C, H, W).

        Returns:
            Tuple of tensors: the neck's output, or the backbone's if there is no neck.
        """
        return self._apply_neck(self._apply_backbone(inputs))

    def loss(
        self, inputs: torch.Tensor, data_samples: list[ClassificationDataSample]
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of the head and of the auxiliary heads.

        Args:
            inputs: Preprocessed images, float tensor of shape (N, C, H, W).
            data_samples: One sample with ``gt_label`` an image.

        Returns:
            Losses by name; those of auxiliary head i are called ``aux_i.<name>``.
        """
        features = self._apply_backbone(inputs)
        losses = self.head.loss(self._apply_neck(features), data_samples)
        if self.with_auxiliary_head:
            for index, head in enumerate(self.auxiliary_head):
                for name, value in head.loss(features, data_samples).items():
                    losses[f'aux_{index}.{name}'] = value
        return losses

    def predict(
        self,
        inputs: torch.Tensor,
        data_samples: list[ClassificationDataSample] | None = None,
    ) -> list[ClassificationDataSample]:
        """Predict the class of every image.

        Args:
            inputs: Preprocessed images, float tensor of shape (N, C, H, W).
            data_samples: Samples to write to; new ones by default.

        Returns:
            N samples with ``pred_score`` and ``pred_label``.
        """
        return self.head.predict(self.extract_feat(inputs), data_samples)

    def _apply_backbone(self, inputs: torch.Tensor) -> Features:
        features = self.backbone(inputs)
        return features if isinstance(features, tuple) else (features,)

    def _apply_neck(self, features: Features) -> Features:
        return self.neck(features) if self.with_neck else features
