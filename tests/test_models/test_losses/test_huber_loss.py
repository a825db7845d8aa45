import pytest
import torch

pytest.importorskip('mmdet')

from mmlayerwise.models.losses import HuberLoss


def huber(error, delta):
    if abs(error) <= delta:
        return error * error / 2
    return delta * (abs(error) - delta / 2)


def test_is_the_huber_loss_on_both_sides_of_delta():
    errors = [-3.0, -0.1, -0.02, 0.0, 0.05, 0.1, 0.1001, 2.5]
    pred = torch.tensor(errors, dtype=torch.float64)
    loss = HuberLoss(delta=0.1, reduction='none', loss_weight=50.0)(pred, torch.zeros_like(pred))
    assert loss.tolist() == pytest.approx([50 * huber(error, 0.1) for error in errors], rel=1e-12)


def test_mean_over_a_given_number():
    pred, weight = torch.randn(6, 4).double(), torch.rand(6, 4).double()
    loss = HuberLoss(delta=0.1)(pred, torch.zeros_like(pred), weight, avg_factor=3)
    pairs = zip(pred.flatten().tolist(), weight.flatten().tolist(), strict=True)
    assert loss.item() == pytest.approx(sum(w * huber(e, 0.1) for e, w in pairs) / 3, rel=1e-6)


def test_delta_must_be_positive():
    with pytest.raises(ValueError, match='delta must be positive, but is 0'):
        HuberLoss(delta=0)
