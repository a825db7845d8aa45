"""Choosing samples so that the classes are as equal as their sizes allow."""

import torch
from torch import Tensor


def select_balanced(
    labels: Tensor, priorities: Tensor, count: int, max_per_class: int | None = None
) -> Tensor:
    """Choose at most ``count`` samples, the classes as equal as their sizes allow.

    Args:
        labels: int64 of shape (num_samples,).
        priorities: Numbers in [0, 1) of shape (num_samples,); within a class the lowest are taken.
        count: How many to choose.
        max_per_class: How many of one class at most; None for no limit.

    Returns:
        int64 row numbers, ascending.
    """
    order, rank = _ranked(labels, priorities)
    if max_per_class is not None:
        order = order[rank < max_per_class]
    return order[:count].sort().values


def balanced_order(labels: Tensor, priorities: Tensor) -> Tensor:
    """Order samples so that every beginning holds the classes as equally as their sizes allow.

    Arguments are those of :func:`select_balanced`.

    Returns:
        int64 row numbers: the first of every class, then the second of every class, and so on.
    """
    return _ranked(labels, priorities)[0]


def _ranked(labels: Tensor, priorities: Tensor) -> tuple[Tensor, Tensor]:
    """The order, and each sample's rank within its class."""
    by_priority = priorities.argsort(stable=True)
    order = by_priority[labels[by_priority].argsort(stable=True)]
    sizes = labels[order].unique_consecutive(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(len(labels)) - starts.repeat_interleave(sizes)
    turn = (rank + priorities[order] / 2).argsort(stable=True)
    return order[turn], rank[turn]
