"""The separation index of some layers, sample by sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.separation.indices import wilson_interval


@dataclass(frozen=True)
class Agreement:
    """Which samples' nearest neighbour has their label.

    Attributes:
        per_sample: Bool of shape (num_samples,).
        chance: Index that random neighbours would give.
    """

    per_sample: Tensor
    chance: float

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return len(self.per_sample)

    @property
    def index(self) -> float:
        """Separation index."""
        return int(self.per_sample.sum()) / self.num_samples

    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the index."""
        return wilson_interval(self.index, self.num_samples)

    @classmethod
    def together(cls, parts: Sequence['Agreement']) -> 'Agreement':
        """That of all samples of several layers."""
        chance = sum(one.chance for one in parts) / len(parts)
        return cls(torch.cat([one.per_sample for one in parts]), chance)
