import pytest
import torch
from torch import nn

from mmlayerwise.forward import estimate_batch_statistics, find_layers
from mmlayerwise.separation import Batch


@pytest.fixture
def model():
    torch.manual_seed(0)

    def block(channels):
        return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout())

    return nn.Sequential(block(3), block(4), nn.Flatten(), nn.Linear(64, 2)).double()


BATCHES = [
    Batch(inputs, [], (8, 8))
    for inputs in torch.randn(3, 5, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
]


def estimate(model, number, batches=BATCHES, **options):
    layer = find_layers(model, lambda: model(BATCHES[0].inputs))[number]
    return estimate_batch_statistics(model, batches, layer, lambda m, x: m(x), **options)


def test_statistics_are_the_means_over_the_batches(model):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert estimate(model, 1) == 2
    (first, second), expected = (model[0], model[1]), []
    for batch in BATCHES:  # dropout stays off, normalisation is that of the batch
        outputs = first[0](batch.inputs)
        normal = nn.functional.batch_norm(outputs, None, None, training=True)
        expected.append((outputs, second[0](torch.relu(normal))))
    for block, outputs in zip((first, second), zip(*expected, strict=True), strict=True):
        mean = torch.stack([one.mean((0, 2, 3)) for one in outputs]).mean(0)
        variance = torch.stack([one.var((0, 2, 3)) for one in outputs]).mean(0)
        torch.testing.assert_close(block[1].running_mean, mean)
        torch.testing.assert_close(block[1].running_var, variance)
        assert block[1].momentum == 0.1
        assert block[1].training
        assert block[1].num_batches_tracked == 3
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, state[name])


def test_later_layers_and_those_that_know_their_data_are_left_alone(model):
    model(BATCHES[0].inputs)
    model[1][1].reset_running_stats()
    known = model[0][1].running_mean.clone()
    assert estimate(model, 0) == 0
    assert torch.equal(model[0][1].running_mean, known)
    assert not model[1][1].running_mean.any()
    assert estimate(model, 1) == 1
    assert model[1][1].running_mean.any()
    assert torch.equal(model[0][1].running_mean, known)


def test_normalisations_that_the_model_keeps_in_evaluation_mode_are_left_alone(model):
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[0][1].eval()
            return self

    frozen = Frozen(*model)
    frozen[0][1].eval()
    assert estimate(frozen, 1) == 1
    assert not model[0][1].running_mean.any()
    assert not frozen[0][1].training


def test_no_more_batches_than_every_process_has(model):
    assert estimate(model, 0, num_batches=2) == 1
    assert model[0][1].num_batches_tracked == 2
    model[0][1].reset_running_stats()
    assert estimate(model, 0, num_batches=0) == 0
    assert not model[0][1].running_mean.any()
