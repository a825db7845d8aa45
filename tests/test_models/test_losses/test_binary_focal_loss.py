import math

import pytest
import torch

from mmlayerwise.models.losses import BinaryFocalLoss


def focal(logit, label, gamma, alpha):
    positive = 1 / (1 + math.exp(-logit))
    own = positive if label else 1 - positive
    weight = 1 if alpha is None else alpha if label else 1 - alpha
    return -weight * (1 - own) ** gamma * math.log(own)


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, None), (1.5, 0.9)])
def test_is_the_mean_over_labelled_pixels(gamma, alpha):
    logits, labels = [-3.0, -0.5, 0.0, 2.0, 1.0, 7.0], [0, 1, 1, 0, 255, 1]
    expected = [
        focal(logit, label, gamma, alpha)
        for logit, label in zip(logits, labels, strict=True)
        if label != 255
    ]
    loss = BinaryFocalLoss(gamma, alpha, loss_weight=0.1)
    actual = loss(
        torch.tensor(logits, dtype=torch.float64).reshape(1, 1, 2, 3),
        torch.tensor(labels).reshape(1, 2, 3),
    )
    assert actual.item() == pytest.approx(0.1 * sum(expected) / 5, rel=1e-12)


def test_extreme_scores_and_unlabelled_maps_are_finite():
    logits = torch.tensor([-1e4, 1e4]).reshape(1, 1, 1, 2).requires_grad_()
    for labels in ([1, 0], [0, 1], [255, 255]):
        loss = BinaryFocalLoss()(logits, torch.tensor([[labels]]))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()
    assert loss.item() == 0
