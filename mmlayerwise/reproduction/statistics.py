"""Means over seeds and paired differences."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """Numbers of several seeds.

    Attributes:
        mean: Their mean.
        deviation: Standard deviation with n - 1; None of a single number.
        count: n.
    """

    mean: float
    deviation: float | None
    count: int

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences with its interval by Student's t.

    Attributes:
        mean: Mean difference.
        low: Lower end of the interval; None of a single pair.
        high: Upper end.
        count: Number of pairs.
        p_value: Two-sided, of no difference; None of a single pair or without any spread.
        confidence: Of the interval.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    p_value: float | None
    confidence: float = CONFIDENCE

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return asdict(self)


def describe(values: Sequence[float]) -> Sample:
    """Mean and standard deviation.

    Args:
        values: At least one number.

    Returns:
        What describes them.
    """
    numbers = np.asarray(values, float)
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return Sample(float(numbers.mean()), deviation, len(numbers))


def paired_difference(
    values: Sequence[float], baseline: Sequence[float], confidence: float = CONFIDENCE
) -> Difference:
    """Mean difference of pairs with its interval.

    Args:
        values: One number a seed.
        baseline: The numbers of the same seeds, in the same order.
        confidence: Of the interval.

    Returns:
        The mean, with an interval if there are two pairs or more.
    """
    differences = np.subtract(values, baseline)
    if differences.ndim != 1 or not len(differences):
        raise ValueError(f'need pairs of numbers, got {np.shape(values)} and {np.shape(baseline)}')
    mean, count = float(differences.mean()), len(differences)
    if count == 1:
        return Difference(mean, None, None, 1, None, confidence)
    error = differences.std(ddof=1) / count**0.5
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1) * error)
    p_value = float(2 * stats.t.sf(abs(mean) / error, count - 1)) if error else None
    return Difference(mean, mean - half, mean + half, count, p_value, confidence)
