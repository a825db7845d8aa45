from collections import Counter

import pytest
import torch
from torch import nn

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.layer_learner import LayerLearner, layer_separation_index
from mmlayerwise.forward.layer_order import find_layers
from mmlayerwise.forward.mining import NearestTripletMiner
from mmlayerwise.models.losses import HingeTripletLoss, RawTripletLoss
from mmlayerwise.separation import (
    Batch,
    BoxSamples,
    GroundTruth,
    ImageSamples,
    PixelSamples,
    SeparationError,
    measure_separation,
)


def block(channels_in, channels_out, norm=True):
    layers = [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:1], *([nn.BatchNorm2d(channels_out)] if norm else []), layers[1])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        block(3, 4), block(4, 4), nn.MaxPool2d(2), block(4, 4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip


def run(model, inputs):
    return model(inputs)


def batch_of(kind, count=4, size=8):
    generator = torch.Generator().manual_seed(1)
    truths = []
    for image in range(count):
        label_map = torch.zeros(size, size, dtype=torch.int64)
        label_map[:, size // 2 :] = 1
        label_map[0] = 255
        truths.append(
            GroundTruth(
                image,
                (size, size),
                label=image % 2 if kind == 'image' else None,
                boxes=torch.tensor([[0.0, 0, 4, 4], [3, 2, 8, 8]]) if kind == 'box' else None,
                box_labels=torch.tensor([0, 1]) if kind == 'box' else None,
                label_map=label_map if kind == 'pixel' else None,
            )
        )
    return Batch(torch.randn(count, 3, size, size, generator=generator), truths, (size, size))


SAMPLERS = dict(image=ImageSamples, box=BoxSamples, pixel=PixelSamples)


def learner_of(model, number, kind='image', loss=None, miner=None):
    batch = batch_of(kind)
    layer = find_layers(model, lambda: model(batch.inputs))[number]
    loss = loss or HingeTripletLoss()
    return LayerLearner(model, layer, SAMPLERS[kind](), miner or NearestTripletMiner(), loss, run)


@pytest.mark.parametrize(
    ('number', 'runs'), [(0, {'0'}), (1, {'0', '1', '2'}), (2, {'0', '1', '2', '3'})]
)
def test_no_module_behind_the_layer_runs(model, number, runs):
    learner, calls = learner_of(model, number), Counter()
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: calls.update([name]))
    learner(batch_of('image'), 0)
    assert {name.partition('.')[0] for name in calls if name} == runs
    assert max(calls.values()) == 1


@pytest.mark.parametrize('kind', SAMPLERS)
@pytest.mark.parametrize('number', range(3))
def test_gradients_pass_through_every_kind_of_sample_to_all_layers_before(model, kind, number):
    learner = learner_of(model, number, kind)
    loss, sums = learner(batch_of(kind), 0)
    assert loss > 0
    assert sums[1] > 0
    loss.backward()
    learned = {name for name, value in model.named_parameters() if value.grad is not None}
    assert learned == learner.layer.parameters
    for name in learner.layer.parameters:
        if 'weight' in name:
            assert model.get_parameter(name).grad.abs().sum() > 0, name


@pytest.mark.parametrize('kind', SAMPLERS)
def test_the_gradient_is_that_of_finite_differences(kind, model):
    learner = learner_of(model.eval(), 0, kind, HingeTripletLoss(margin=3.0))
    weight, batch = model[0][0].weight, batch_of(kind)
    learner(batch, 0)[0].backward()
    step = 1e-3  # samplers give float32
    direction = weight.grad / weight.grad.norm()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
            values.append(learner(batch, 0)[0].item())
            weight -= sign * step * direction
    slope = (values[0] - values[1]) / (2 * step)
    assert slope == pytest.approx(weight.grad.norm().item(), rel=0.05)


def test_the_loss_is_that_of_the_samples_of_the_layer(model):
    model.eval()
    batch = batch_of('image')
    loss, sums = learner_of(model, 1)(batch, 0)
    with torch.no_grad():
        features = nn.functional.normalize(model[:3](batch.inputs).flatten(1))
    squared = torch.cdist(features, features).square()
    same = torch.tensor([0, 1, 0, 1])[:, None] == torch.tensor([0, 1, 0, 1])
    near = squared.masked_fill(~same | torch.eye(4, dtype=torch.bool), torch.inf).min(1).values
    far = squared.masked_fill(same, torch.inf).min(1).values
    expected = torch.relu(0.2 + near - far).mean()
    distance = (near + far).sum() / 2  # of unit length
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        sums,
        torch.tensor(
            [4 * loss.item(), 4, int((near < far).sum()), distance, 0], dtype=torch.float64
        ),
    )


def test_a_batch_without_pairs_gives_a_zero_that_can_be_learned_from(model):
    learner, batch = learner_of(model, 0), batch_of('image')
    for truth in batch.truths:
        truth.label = truth.image
    loss, sums = learner(batch, 0)
    assert loss.item() == 0
    assert sums.tolist() == [0, 0, 0, 0, 0]
    loss.backward()
    assert not model[0][0].weight.grad.any()


def test_a_batch_without_any_sample_gives_zero_as_well(model):
    learner, batch = learner_of(model, 0, 'box'), batch_of('box')
    for truth in batch.truths:
        truth.boxes, truth.box_labels = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    loss, sums = learner(batch, 0)
    loss.backward()
    assert sums.tolist() == [0, 0, 0, 0, 0]


def test_boxes_of_one_image_are_no_neighbours(model):
    seen = []

    class Keep(NearestTripletMiner):
        def __call__(self, features, labels, images=None):
            seen.append(images)
            return super().__call__(features, labels, images)

    learner_of(model, 0, 'box', miner=Keep())(batch_of('box'), 0)
    assert seen[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_nan_is_reported_and_not_swallowed(model):
    learner, batch = learner_of(model, 0), batch_of('image')
    with torch.no_grad():
        model[0][0].weight[0] = torch.nan
    assert learner(batch, 0)[1].tolist()[4] == 1


def test_the_raw_loss_is_refused_without_normalisation(model):
    plain = nn.Sequential(block(3, 4, norm=False), block(4, 4), nn.Flatten(), nn.Linear(256, 2))
    with pytest.raises(ForwardLearningError, match=r"RawTripletLoss on layer '0.0', which has no"):
        learner_of(plain, 0, loss=RawTripletLoss())
    learner_of(plain, 1, loss=RawTripletLoss())
    learner_of(plain, 0, loss=RawTripletLoss(normalize=True))
    learner_of(model, 0, loss=RawTripletLoss())


def index_of(model, kind, number=1, batches=None, **options):
    batches = batches or [batch_of(kind)]
    layer = find_layers(model, lambda: model(batches[0].inputs))[number]
    options = dict(dict(num_samples=100), **options)
    return layer_separation_index(model, batches, layer, SAMPLERS[kind](), run, **options)


@pytest.mark.parametrize('kind', SAMPLERS)
def test_the_index_is_that_of_the_measure(model, kind):
    batch = batch_of(kind, count=12)
    expected = measure_separation(model, [batch], ['3.0'], SAMPLERS[kind](), max_samples=60)
    assert index_of(model, kind, 2, [batch], num_samples=60) == expected['3.0'].index


def test_constant_images_have_a_defined_index_and_loss(model):
    batch = batch_of('image')
    batch.inputs = torch.ones_like(batch.inputs)
    assert 0 <= index_of(model, 'image', batches=[batch]) <= 1
    loss, sums = learner_of(model, 1)(batch, 0)
    assert loss.item() == pytest.approx(0.2)
    assert sums[3:].tolist() == [0, 0]  # all alike, nothing broken
    loss.backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())


def test_one_class_is_refused_by_name(model):
    batch = batch_of('image')
    for truth in batch.truths:
        truth.label = 3
    with pytest.raises(ForwardLearningError, match=r"4 image samples of 1 class.* at layer '1.0'"):
        index_of(model, 'image', batches=[batch])


def test_nan_features_are_refused_by_name(model):
    with torch.no_grad():
        model[0][0].bias[0] = torch.nan
    with pytest.raises(SeparationError, match=r'1\.0'):
        index_of(model, 'image')


def test_under_mixed_precision_triplets_are_compared_in_full_precision(model):
    batch = batch_of('image')
    learner = learner_of(model.eval(), 1)
    expected = learner(batch, 0)[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss, _ = learner(batch, 0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)
    assert loss.item() != expected.item()  # the layers did run in half precision
    loss.backward()
    assert model[0][0].weight.grad.abs().sum() > 0
