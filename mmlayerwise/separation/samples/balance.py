"""Choosing samples so that the classes are as equal as their sizes allow."""

import torch
from torch import Tensor


def select_balanced(labels: Tensor, priorities: Tensor, count: int) -> Tensor:
    """Choose at most ``count`` samples, the classes as equal as their sizes allow.

    Args:
        labels: int64 of shape (num_samples,).
        priorities: Numbers in [0, 1) of shape (num_samples,); within a class the lowest are taken.
        count: How many to choose.

    Returns:
        int64 row numbers, ascending.
    """
    return balanced_order(labels, priorities)[:count].sort().values


def balanced_order(labels: Tensor, priorities: Tensor) -> Tensor:
    """Order samples so that every beginning holds the classes as equally as their sizes allow.

    Arguments are those of :func:`select_balanced`.

    Returns:
        int64 row numbers: the first of every class, then the second of every class, and so on.
    """
    by_priority = priorities.argsort(stable=True)
    order = by_priority[labels[by_priority].argsort(stable=True)]
    sizes = labels[order].unique_consecutive(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(len(labels)) - starts.repeat_interleave(sizes)
    return order[(rank + priorities[order] / 2).argsort(stable=True)]
