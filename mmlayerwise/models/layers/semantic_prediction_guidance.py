"""Features weighted by what they predict."""

import torch
from torch import nn


class SemanticPredictionGuidance(nn.Module):
    """Classify every position, turn the scores into weights of the features, and add them.

    With features F and their scores P, which are trained on the labels, the result is
    ``F + F * sigmoid(conv(P))``, the convolution being of size 1x1.

    Cheng et al., SPGNet: semantic prediction guidance for scene parsing, arXiv 1908.09798.

    Args:
        channels: Channels of the features.
        num_classes: Channels of the scores.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(channels, num_classes, kernel_size=1)
        self.guidance = nn.Conv2d(num_classes, channels, kernel_size=1)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Guide features.

        Args:
            inputs: Features of shape (N, channels, H, W).

        Returns:
            The guided features of the same shape, and the scores of shape (N, num_classes, H, W).
        """
        scores = self.classifier(inputs)
        return inputs + inputs * self.guidance(scores).sigmoid(), scores
