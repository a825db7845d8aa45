"""The stages of a ResNet behind another network."""

from collections.abc import Sequence

import torch
from mmseg.models.backbones import ResNet

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class StemlessResNet(ResNet):
    """ResNet that reads features in place of images and adds given maps to its own.

    It has no stem; the first stage reads ``stem_channels`` channels. Checkpoints of ResNet fit but
    for the stem. The arguments are those of mmseg's ``ResNet``. ResNet-50 has 23,498,496
    parameters.
    """

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        pass

    def forward(
        self, inputs: torch.Tensor, additions: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Features of shape (N, stem_channels, H, W).
            additions: A tensor for every stage, which is added to what the stage computes before
                the next one reads it.

        Returns:
            The sums of the stages of ``out_indices``.
        """
        features, outputs = inputs, []
        for stage, (name, addition) in enumerate(zip(self.res_layers, additions, strict=True)):
            features = getattr(self, name)(features) + addition
            if stage in self.out_indices:
                outputs.append(features)
        return tuple(outputs)
