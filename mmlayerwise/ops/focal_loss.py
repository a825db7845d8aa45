"""Focal loss (Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 5)."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mmlayerwise.ops.extension import implements
from mmlayerwise.ops.precision import upcast


@implements('sigmoid_focal_loss_forward')
def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss of independent binary classifiers into ``output``.

    Args:
        input: Logits, shape (N, C).
        target: Class of each row in [0, C]; C means background. Shape (N,), int64.
        weight: Weight of each class, shape (C,), or empty for none. Background rows, which have
            no weight, count fully.
        output: Loss of every element, shape (N, C).
        gamma: Focusing exponent.
        alpha: Weight of the positive elements; the negative ones have 1 - alpha.
    """
    logits = upcast(input)
    positive = _membership(target, logits.size(1))
    probability = logits.sigmoid()
    # log p through logsigmoid stays finite and exact where p itself rounds to 0 or 1.
    loss = torch.where(
        positive,
        -alpha * logits.neg().sigmoid().pow(gamma) * logsigmoid(logits),
        (alpha - 1) * probability.pow(gamma) * logsigmoid(-logits),
    )
    output.copy_(loss * _row_weights(weight, target, loss)[:, None])


@implements('sigmoid_focal_loss_backward')
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of every loss with respect to its own logit into ``grad_input``.

    Args:
        input: Logits, shape (N, C).
        target: Class of each row in [0, C], shape (N,), int64.
        weight: Weight of each class, shape (C,), or empty.
        grad_input: Output, shape (N, C).
        gamma: Focusing exponent.
        alpha: Weight of the positive elements.
    """
    logits = upcast(input)
    positive = _membership(target, logits.size(1))
    probability, complement = logits.sigmoid(), logits.neg().sigmoid()
    gradient = torch.where(
        positive,
        -alpha * complement.pow(gamma) * (complement - gamma * probability * logsigmoid(logits)),
        (alpha - 1)
        * probability.pow(gamma)
        * (gamma * complement * logsigmoid(-logits) - probability),
    )
    grad_input.copy_(gradient * _row_weights(weight, target, gradient)[:, None])


@implements('softmax_focal_loss_forward')
def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss of a softmax classifier into ``output``.

    Args:
        input: Probabilities (mmcv applies the softmax), shape (N, C).
        target: Class of each row; rows with a negative one are ignored. Shape (N,), int64.
        weight: Weight of each class, shape (C,), or empty for none.
        output: Loss of every row, shape (N,).
        gamma: Focusing exponent.
        alpha: Weight of the loss.
    """
    probability = _target_probability(input, target)
    loss = -alpha * (1 - probability).pow(gamma) * _log(probability)
    loss = loss * _row_weights(weight, target, loss)
    output.copy_(loss.masked_fill(target < 0, 0))


@implements('softmax_focal_loss_backward')
def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative of every row's loss with respect to its logits into ``grad_input``.

    Args:
        input: Probabilities, shape (N, C).
        target: Class of each row; rows with a negative one are ignored. Shape (N,), int64.
        weight: Weight of each class, shape (C,), or empty.
        buff: Output: derivative with respect to the log probability of the row's class, (N,).
        grad_input: Output, shape (N, C).
        gamma: Focusing exponent.
        alpha: Weight of the loss.
    """
    probability = _target_probability(input, target)
    complement = 1 - probability
    # At probability 1, (1 - p)^(gamma - 1) log p tends to 0 for gamma > 0; 0 x inf would be NaN.
    focus = (gamma * complement.pow(gamma - 1) * probability * _log(probability)).nan_to_num(nan=0)
    slope = alpha * (focus - complement.pow(gamma))
    slope = (slope * _row_weights(weight, target, slope)).masked_fill(target < 0, 0)
    buff.copy_(slope)
    member = _membership(target, input.size(1)).to(slope.dtype)
    grad_input.copy_(slope[:, None] * (member - input))


def _membership(target: Tensor, num_classes: int) -> Tensor:
    """Return a (N, C) mask that is True where a row belongs to a class."""
    return target[:, None] == torch.arange(num_classes, device=target.device)


def _row_weights(weight: Tensor, target: Tensor, like: Tensor) -> Tensor:
    """Return the weight of every row's class; 1 where the row has no class or no weight."""
    if weight.numel() == 0:
        return like.new_ones(target.shape)
    known = (target >= 0) & (target < weight.numel())
    weights = weight.to(like.dtype)[target.clamp(0, weight.numel() - 1)]
    return torch.where(known, weights, weights.new_ones(()))


def _target_probability(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the probability of every row's class; of class 0 for ignored rows."""
    return upcast(probabilities).gather(1, target.clamp(min=0)[:, None])[:, 0]


def _log(probability: Tensor) -> Tensor:
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()
