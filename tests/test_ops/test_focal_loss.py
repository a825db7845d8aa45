"""Focal losses against plain loops in float64."""

import math

import pytest
import torch
from mmcv.ops import SoftmaxFocalLoss, sigmoid_focal_loss, softmax_focal_loss

NUM_CLASSES = 4
TARGETS = [0, 3, 4, 1, 4, 2]  # 4 is the background of the sigmoid loss


@pytest.fixture
def logits():
    generator = torch.manual_seed(0)
    return torch.randn(len(TARGETS), NUM_CLASSES, dtype=torch.float64, generator=generator) * 3


def sigmoid_reference(logits, targets, gamma, alpha, weights):
    loss = torch.zeros_like(logits)
    for n, target in enumerate(targets):
        for c in range(NUM_CLASSES):
            p = 1 / (1 + math.exp(-logits[n, c].item()))
            if c == target:
                value = -alpha * (1 - p) ** gamma * math.log(p)
            else:
                value = -(1 - alpha) * p**gamma * math.log(1 - p)
            loss[n, c] = value * (weights[target] if target < NUM_CLASSES else 1)
    return loss


def softmax_reference(logits, targets, gamma, alpha, weights):
    loss = []
    for row, target in zip(logits.tolist(), targets, strict=True):
        if target < 0:
            loss.append(0.0)
            continue
        p = math.exp(row[target]) / sum(map(math.exp, row))
        loss.append(-alpha * (1 - p) ** gamma * math.log(p) * weights[target])
    return torch.tensor(loss, dtype=torch.float64)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('weights', [None, [0.5, 1.0, 2.0, 3.0]])
def test_sigmoid_loss_and_gradient(logits, gamma, weights):
    target = torch.tensor(TARGETS)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = sigmoid_reference(logits, TARGETS, gamma, 0.25, weights or [1.0] * NUM_CLASSES)
    loss = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, 'none')
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-15)
    for reduction, value in (('sum', expected.sum()), ('mean', expected.sum() / len(TARGETS))):
        loss = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, reduction)
        torch.testing.assert_close(loss, value)
        assert torch.autograd.gradcheck(
            lambda x, how=reduction: sigmoid_focal_loss(x, target, gamma, 0.25, weight, how),
            logits.clone().requires_grad_(),
        )


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('weights', [None, [0.5, 1.0, 2.0, 3.0]])
def test_softmax_loss_and_gradient(logits, gamma, weights):
    targets = [0, 3, -1, 1, 2, 2]  # -1 is ignored
    target = torch.tensor(targets)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = softmax_reference(logits, targets, gamma, 0.25, weights or [1.0] * NUM_CLASSES)
    loss = softmax_focal_loss(logits.clone(), target, gamma, 0.25, weight, 'none')
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(
        lambda x: softmax_focal_loss(x, target, gamma, 0.25, weight, 'sum'),
        logits.clone().requires_grad_(),
    )


def test_hand_computed_values():
    zeros = torch.zeros(1, 2)
    loss = sigmoid_focal_loss(zeros, torch.tensor([0]), 2.0, 0.25, None, 'none')
    expected = torch.tensor([[0.25, 0.75]]) * 0.25 * math.log(2)
    torch.testing.assert_close(loss, expected)
    loss = softmax_focal_loss(torch.zeros(1, 4), torch.tensor([2]), 2.0, 0.25, None, 'sum')
    torch.testing.assert_close(loss, torch.tensor(0.25 * 0.75**2 * math.log(4)))


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    for target in (0, 1, 2):
        loss = sigmoid_focal_loss(logits, torch.tensor([target]), 2.0, 0.25, None, 'sum')
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    for target in (0, 1):
        for gamma in (0.0, 0.5, 2.0):
            loss = softmax_focal_loss(sure, torch.tensor([target]), gamma, 0.25, None, 'sum')
            assert torch.autograd.grad(loss, sure)[0].isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(logits, dtype):
    low = logits.to(dtype).requires_grad_()
    target = torch.tensor(TARGETS)
    loss = sigmoid_focal_loss(low, target, 2.0, 0.25, None, 'none')
    expected = sigmoid_reference(low.detach().double(), TARGETS, 2.0, 0.25, [1.0] * NUM_CLASSES)
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(loss.double(), expected, rtol=rounding, atol=rounding)
    loss.sum().backward()
    assert low.grad.dtype == dtype
    low_softmax = logits.to(dtype).requires_grad_()
    # mmcv computes the softmax itself, in the precision of its input.
    loss = SoftmaxFocalLoss(2.0, 0.25)(low_softmax, target.clamp(max=3))
    loss.backward()
    exact = softmax_reference(
        low_softmax.detach().double(), target.clamp(max=3).tolist(), 2.0, 0.25, [1.0] * NUM_CLASSES
    )
    torch.testing.assert_close(loss.double(), exact.mean(), rtol=20 * rounding, atol=rounding)
    assert low_softmax.grad.isfinite().all()


def test_no_rows():
    empty = torch.zeros(0, NUM_CLASSES, requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    loss = sigmoid_focal_loss(empty, none, 2.0, 0.25, None, 'sum')
    assert loss.item() == 0
    loss.backward()
    assert empty.grad.shape == (0, NUM_CLASSES)
    assert softmax_focal_loss(empty.detach(), none, 2.0, 0.25, None, 'none').shape == (0,)


@pytest.mark.gpu
def test_cuda_equals_cpu(logits):
    target = torch.tensor(TARGETS)
    for loss in (sigmoid_focal_loss, softmax_focal_loss):
        where = target.clamp(max=3)
        on_cpu = loss(logits.clone(), where, 2.0, 0.25, None, 'none')
        on_cuda = loss(logits.cuda(), where.cuda(), 2.0, 0.25, None, 'none')
        torch.testing.assert_close(on_cuda.cpu(), on_cpu)
