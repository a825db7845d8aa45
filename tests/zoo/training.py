"""A few optimiser steps on one batch."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.optim import OptimWrapper
from torch import nn

NUM_STEPS = 3


def seed_everything(seed: int = 0) -> None:
    """Fix what samplers and dropout draw."""
    torch.manual_seed(seed)
    np.random.seed(seed)


def train(
    model: nn.Module, batch: dict[str, Any], learning_rate: float
) -> tuple[list[float], set[str]]:
    """Train on one batch, with the same random draws in every step.

    Args:
        model: A model of mmengine, with ``train_step``.
        batch: What its data preprocessor takes.
        learning_rate: Of AdamW.

    Returns:
        The total loss before each step and, last, after all of them; the names of the parameters
        whose gradient was nonzero in some step.
    """
    model.train()
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate)
    optim_wrapper = OptimWrapper(optimizer)
    reached: set[str] = set()
    handles = [
        parameter.register_post_accumulate_grad_hook(_note(name, reached))
        for name, parameter in parameters.items()
    ]
    losses = []
    for _ in range(NUM_STEPS + 1):
        seed_everything()
        losses.append(float(model.train_step(copy.deepcopy(batch), optim_wrapper)['loss']))
    for handle in handles:
        handle.remove()
    return losses, reached


def _note(name: str, reached: set[str]) -> Callable[[torch.Tensor], None]:
    def hook(parameter: torch.Tensor) -> None:
        if parameter.grad.isfinite().all() and parameter.grad.any():
            reached.add(name)

    return hook
