"""Whether one layer separates the same samples better than another."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError


@dataclass(frozen=True)
class Difference:
    """Mean paired difference of per-sample indices.

    Attributes:
        gain: Mean of after less before.
        standard_error: Of that mean; the samples are the same ones, so their differences count and
            not the two indices' own errors.
        num_samples: How many samples both layers have.
    """

    gain: float
    standard_error: float
    num_samples: int


@dataclass(frozen=True)
class SignificanceTest:
    """A difference counts if it exceeds ``max(least, z * standard_error)``.

    Args:
        least: Smallest difference that matters at all.
        z: Quantile of the one-sided test; 1.64 is 95 %.
    """

    least: float = 0.005
    z: float = 1.64

    def __post_init__(self) -> None:
        if not (self.least >= 0 and self.z >= 0):
            raise SeparationError(
                f'The thresholds of significance must not be negative; got least={self.least}, '
                f'z={self.z}'
            )

    def threshold(self, difference: Difference) -> float:
        """What the difference has to exceed."""
        return max(self.least, self.z * difference.standard_error)

    def rises(self, difference: Difference) -> bool:
        """Whether the index rises significantly."""
        return difference.gain > self.threshold(difference)

    def drops(self, difference: Difference) -> bool:
        """Whether the index drops significantly."""
        return -difference.gain > self.threshold(difference)


def paired_difference(
    before: Tensor, after: Tensor, before_ids: Tensor | None = None, after_ids: Tensor | None = None
) -> Difference:
    """Compare two layers on the samples that both have.

    Args:
        before: Index of each sample in the first layer: bool or float of shape (num_samples,).
        after: The same in the second layer.
        before_ids: Unique, ascending numbers of the samples; by default both layers have the same.
        after_ids: Likewise.

    Raises:
        SeparationError: If fewer than two samples are common.
    """
    if before_ids is not None and after_ids is not None:
        before = before[torch.isin(before_ids, after_ids)]
        after = after[torch.isin(after_ids, before_ids)]
    if len(before) != len(after) or len(before) < 2:
        raise SeparationError(
            f'A paired test needs the same samples twice, at least 2; got {len(before)} and '
            f'{len(after)}. Measure on more images'
        )
    difference = after.double() - before.double()
    error = float(difference.std()) / sqrt(len(difference))
    return Difference(float(difference.mean()), error, len(difference))
