import pytest
import torch

from mmlayerwise.models.losses import HingeTripletLoss, RawTripletLoss, SoftTripletLoss
from mmlayerwise.registry import MODELS

LOSSES = ('RawTripletLoss', 'HingeTripletLoss', 'SoftTripletLoss')


def triplets(count=40, dimension=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, count, dimension, generator=generator, dtype=torch.float64)


def test_raw_is_the_mean_difference_of_squared_distances():
    anchors, friends, enemies = triplets()
    near = ((anchors - friends) ** 2).sum(1)
    far = ((anchors - enemies) ** 2).sum(1)
    found = RawTripletLoss()(anchors, friends, enemies)
    torch.testing.assert_close(found, (near - far).mean())


@pytest.mark.parametrize(
    ('loss', 'options'),
    [
        (HingeTripletLoss(), dict(margin=0.2)),
        (HingeTripletLoss(margin=0.7), dict(margin=0.7)),
        (SoftTripletLoss(), dict(margin=0.0, smooth_loss=True)),
    ],
)
def test_pytorch_metric_learning_gives_the_same(loss, options):
    losses = pytest.importorskip('pytorch_metric_learning.losses')
    distances = pytest.importorskip('pytorch_metric_learning.distances')
    reducers = pytest.importorskip('pytorch_metric_learning.reducers')
    reference = losses.TripletMarginLoss(
        distance=distances.LpDistance(power=2), reducer=reducers.MeanReducer(), **options
    )
    features = triplets().transpose(0, 1).reshape(-1, 6)
    rows = torch.arange(0, len(features), 3)
    expected = reference(
        features, torch.zeros(len(features)), indices_tuple=(rows, rows + 1, rows + 2)
    )
    embedded = loss.embed(features)
    found = loss(embedded[rows], embedded[rows + 1], embedded[rows + 2])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('name', LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    loss = MODELS.build(dict(type=name, normalize=True))
    given = triplets(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: loss(*map(loss.embed, parts)), tuple(given))


@pytest.mark.parametrize('name', LOSSES)
def test_no_triplets_give_zero(name):
    empty = torch.zeros(0, 5, requires_grad=True)
    found = MODELS.build(dict(type=name))(empty, empty, empty)
    assert found.item() == 0
    found.backward()


@pytest.mark.parametrize('name', LOSSES)
def test_the_weight_scales(name):
    parts = triplets()
    one, three = (MODELS.build(dict(type=name, loss_weight=w))(*parts) for w in (1, 3))
    torch.testing.assert_close(3 * one, three)


def test_normalised_features_are_blind_to_scale_and_survive_zero():
    loss = HingeTripletLoss()
    features = triplets(3)[0]
    torch.testing.assert_close(loss.embed(features), loss.embed(features * 1000))
    zero = torch.zeros(1, 4, requires_grad=True)
    loss.embed(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_only_the_raw_loss_falls_without_end():
    friends, enemies = torch.zeros(1, 2), torch.zeros(1, 2)
    values = [
        [loss(torch.zeros(1, 2), friends, enemies + size).item() for size in (1.0, 1e3)]
        for loss in (RawTripletLoss(), HingeTripletLoss(), SoftTripletLoss())
    ]
    assert values[0][1] < values[0][0] < 0
    assert all(value >= 0 for row in values[1:] for value in row)
    assert [loss.bounded for loss in (RawTripletLoss(), HingeTripletLoss())] == [False, True]
