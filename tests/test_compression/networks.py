"""Small networks whose index in every layer is known."""

import torch
from torch import Tensor, nn

NUM_CLASSES = 4


def coded_images(count: int = 80, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images whose first channel tells the class and whose second is noise.

    Returns:
        float32 of shape (count, 2, 4, 4) and int64 of shape (count,).
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % NUM_CLASSES
    images = torch.rand((count, 2, 4, 4), generator=generator)
    images[:, 0] = 1 + labels[:, None, None] + 0.01 * images[:, 0]
    return images, labels


def _pointwise(weight: Tensor) -> nn.Conv2d:
    convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    with torch.no_grad():
        convolution.weight.copy_(weight[:, :, None, None])
        convolution.bias.zero_()
    return convolution


class CodedNet(nn.Module):
    """Block ``first`` is drowned in noise, ``second`` removes it, ``third`` adds nothing.

    Every block has 8 maps. In ``first`` maps 0-3 tell the class and 4-7 are loud noise; in the
    others maps 0-3 tell the class and 4-7 are silent.
    """

    def __init__(self) -> None:
        super().__init__()
        telling = torch.tensor([1.0, 2.0, 3.0, 4.0])
        first = torch.zeros(8, 2)
        first[:4, 0], first[4:, 1] = telling, 200.0
        second, third = torch.zeros(8, 8), torch.zeros(8, 8)
        second[:4, :4], third[:4, :4] = torch.eye(4), torch.eye(4)
        self.first = nn.Sequential(_pointwise(first), nn.ReLU())
        self.second = nn.Sequential(_pointwise(second), nn.ReLU())
        self.third = nn.Sequential(_pointwise(third), nn.ReLU())
        self.classifier = nn.Linear(8 * 16, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.classifier(self.third(self.second(self.first(images))).flatten(1))


class MixedNet(nn.Module):
    """A sum, a concatenation, normalisations and a flattening between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(6)
        self.branch = nn.Conv2d(6, 6, 3, padding=1)
        self.left = nn.Conv2d(6, 4, 1)
        self.right = nn.Conv2d(6, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(7)
        self.last = nn.Conv2d(7, 5, 1)
        self.classifier = nn.Linear(5 * 16, NUM_CLASSES)
        for norm in (self.stem_norm, self.norm):
            nn.init.normal_(norm.bias)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        stem = self.stem_norm(self.stem(images)).relu()
        summed = (stem + self.branch(stem)).relu()
        both = torch.cat([self.left(summed), self.right(summed)], 1)
        return self.classifier(self.last(self.norm(both).relu()).relu().flatten(1))
