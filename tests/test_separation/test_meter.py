import re

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch import nn

from mmlayerwise.separation import (
    Batch,
    GroundTruth,
    ImageSamples,
    SeparationError,
    SeparationMeter,
    SeparationProfile,
    measure_separation,
)
from tests.test_separation.reference import friends


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def digits(count=300):
    data = load_digits()
    images = torch.tensor(data.images[:count], dtype=torch.float32)[:, None] / 16
    return images, torch.tensor(data.target[:count])


def batches(size=64, count=300):
    return list(zip(*(part.split(size) for part in digits(count)), strict=True))


def test_every_layer_equals_the_reference_on_its_features():
    model = network()
    profile = measure_separation(model, batches(), order=3)
    images, labels = digits()
    model.eval()
    with torch.no_grad():
        features = {'0': model[:3](images).flatten(1), '5': model(images)}
    assert [layer.name for layer in profile.layers] == ['0', '5']
    for name, values in features.items():
        expected = friends(values, labels, 3)
        layer = profile[name]
        assert layer.index == pytest.approx(expected[:, 0].mean())
        assert layer.soft == pytest.approx(expected.mean())
        assert layer.high_order == pytest.approx(expected.all(1).mean())
        assert layer.num_samples == 300
        assert layer.dimension == values.shape[1]
        zeros = labels == 0
        assert layer.per_class['0'] == (pytest.approx(expected[zeros, 0].mean()), zeros.sum())


def test_nothing_of_the_model_changes():
    model = network().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first = measure_separation(model, batches(), 'stages')
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert measure_separation(model, batches(), 'stages') == first


def test_the_cap_balances_the_classes_and_does_not_depend_on_the_batches():
    capped = measure_separation(network(), batches(64), max_samples=50)
    counts = [count for _, count in capped['5'].per_class.values()]
    assert counts == [5] * 10
    assert capped == measure_separation(network(), batches(17), max_samples=50)
    assert capped != measure_separation(network(), batches(64), max_samples=50, seed=1)


def test_a_profile_survives_json():
    profile = measure_separation(network(), batches(count=60), classes=[f'n{i}' for i in range(10)])
    import json

    again = SeparationProfile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert again.layers[0].index == profile.layers[0].index
    assert list(again.layers[0].per_class) == [f'n{i}' for i in range(10)]
    assert json.dumps(again.to_dict()) == json.dumps(profile.to_dict())


class Diverged(nn.Module):
    def forward(self, x):
        return x / 0


def test_nan_features_name_the_layer_or_are_noted():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), Diverged(), nn.Conv2d(2, 2, 3))
    with pytest.raises(SeparationError, match="NaN or infinite features in layer '2'"):
        measure_separation(model, batches(count=40))
    profile = measure_separation(model, batches(count=40), keep_going=True)
    assert profile['0'].index is not None
    assert profile['2'].index is None
    assert "in layer '2'" in profile['2'].error


def test_layers_of_other_shapes_are_skipped_or_refused():
    class Regions(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            return self.linear(self.conv(x).permute(0, 2, 3, 1).reshape(-1, 2))

    profile = measure_separation(Regions(), batches(count=40))
    assert [layer.name for layer in profile.layers] == ['conv']
    assert profile.skipped == ['linear']
    with pytest.raises(SeparationError, match=r'image cannot be found in .*linear \(1440, 2\)'):
        measure_separation(Regions(), batches(count=40), ['linear'])


@pytest.mark.parametrize(
    ('data', 'options', 'message'),
    [
        ([], {}, 'no batch came'),
        ([(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))], {}, 'of one class'),
        ([(torch.zeros(4, 1, 8, 8), torch.zeros(4))], {}, 'one integer label an image'),
        ([torch.zeros(4, 1, 8, 8)], {}, 'pair'),
        ([], {'max_samples': 1}, 'max_samples must be at least 2'),
        ([], {'order': 0}, 'order must be at least 1'),
        (
            [(torch.zeros(2, 1, n, n), torch.arange(2)) for n in (8, 12)],
            {'layers': ['0']},
            "'0' gives vectors of 256 and of 576 values",
        ),
    ],
)
def test_data_that_cannot_be_measured(data, options, message):
    with pytest.raises(SeparationError, match=message):
        measure_separation(network(), data, **options)


def test_pooling_makes_images_of_several_sizes_comparable():
    data = [(torch.randn(4, 1, n, n), torch.arange(4) % 2) for n in (8, 12)]
    samples = dict(type='ImageSamples', pool='average')
    profile = measure_separation(network()[:3], data, ['0'], samples)
    assert (profile['0'].num_samples, profile['0'].dimension) == (8, 4)


def test_a_class_with_one_sample_has_no_friend_and_counts():
    images, labels = digits(60)
    keep = (labels == 0) | (labels == 1)
    images, labels = images[keep], labels[keep].clone()
    labels[3] = 7  # the only one of its class
    profile = measure_separation(network(), [(images, labels)], ['5'])
    assert profile['5'].per_class['7'] == (0.0, 1)
    assert profile['5'].num_samples == len(labels)
    with torch.no_grad():
        expected = friends(network().eval()(images), labels)[:, 0].mean()
    assert profile['5'].index == pytest.approx(expected)


def test_data_smaller_than_the_cap_are_all_compared():
    profile = measure_separation(network(), batches(count=30), ['5'], max_samples=10_000)
    assert profile['5'].num_samples == 30


@pytest.mark.parametrize(
    ('label', 'classes', 'message'),
    [
        (9, ['a', 'b', 'c'], r'Label 9 \(gt_label of image 3\) is none of the 3 classes'),
        (-1, None, r'Label -1 \(gt_label of image 3\) is none: labels count from 0'),
    ],
)
def test_labels_out_of_range_name_the_image(label, classes, message):
    labels = torch.arange(4) % 2
    labels[3] = label
    data = [(torch.zeros(4, 1, 8, 8), labels)]
    for keep_going in (False, True):
        with pytest.raises(SeparationError, match=message):
            measure_separation(network(), data, classes=classes, keep_going=keep_going)


class Settling:
    """A forward function that has to try what works: the model fails half-way at first."""

    def __init__(self):
        self.tries = 0

    def settle(self, model, inputs):
        if not self.tries:
            self.tries += 1
            model[0](inputs)
            model(inputs)

    def __call__(self, model, inputs):
        assert self.tries == 1
        return model(inputs)


def test_a_forward_function_settles_before_the_model_is_watched():
    forward = Settling()
    profile = measure_separation(network(), batches(count=40), forward=forward)
    assert [layer.name for layer in profile.layers] == ['0', '5']
    assert forward.tries == 1
    # A meter that is prepared settles another function, too.
    meter = SeparationMeter()
    data = list(_labelled(1))
    meter.prepare(network(), data[0], _forward)
    other = Settling()
    meter.measure(network(), data, other)
    assert other.tries == 1


def test_the_pooling_goes_by_layer():
    model, data = network(), batches(count=60)
    images, labels = digits(60)
    model.eval()
    with torch.no_grad():
        features = model[:3](images)
    for pooling, vectors in (
        ({'0': 'average'}, features.mean((2, 3))),
        ({'5': 'flatten', r'\d': 2}, features.unflatten(2, (2, 4)).unflatten(4, (2, 4))),
        ('flatten', features),
    ):
        if vectors.ndim == 6:
            vectors = vectors.mean((3, 5))
        profile = measure_separation(model, data, pooling=pooling)
        assert profile['0'].dimension == vectors.flatten(1).shape[1]
        expected = friends(vectors.flatten(1), labels)[:, 0].mean()
        assert profile['0'].index == pytest.approx(expected)
        assert profile['5'].dimension == 10


def test_a_pooling_that_fits_no_layer_is_refused():
    for pooling, message in (
        ({'backbone.*': 'average'}, r"'backbone\.\*' fits none of the 2 measured layers: 0, 5\."),
        ({'(': 'average'}, 'no regular expression'),
        ({'0': 'max'}, "pool must be .* got 'max'"),
        ('max', "pool must be .* got 'max'"),
    ):
        with pytest.raises(SeparationError, match=message):
            measure_separation(network(), batches(count=40), pooling=pooling)


def test_objects_are_divided_by_their_size():
    data = list(scenes())
    for batch in data:
        for truth in batch.truths:
            truth.scale = (0.25, 0.25) if truth.image % 3 else (1.0, 1.0)  # 40 or 10 pixels a side
    profile = measure_separation(network()[:3], data, ['0'], max_samples=100)
    sizes = profile['0'].per_size
    counts = {size: count for size, (_, count) in sizes.items()}
    small = sum(len(t.boxes) for batch in data for t in batch.truths if t.image % 3 == 0)
    boxes = sum(len(t.boxes) for batch in data for t in batch.truths)
    assert counts == {'small': small, 'medium': boxes - small}
    agreeing = sum(index * count for index, count in sizes.values())
    assert agreeing == pytest.approx(profile['0'].index * boxes)
    assert measure_separation(network(), batches(count=40))['5'].per_size == {}


def scenes():
    """Batches with boxes and a few images, as a detector sees them."""
    generator = torch.Generator().manual_seed(0)
    for start in range(0, 10, 2):
        truths = []
        for image in (start, start + 1):
            corner = torch.rand(image % 4 + 1, 2, generator=generator) * 20
            boxes = torch.cat([corner, corner + 10], 1)
            labels = torch.randint(0, 3, (len(boxes),), generator=generator)
            truths.append(GroundTruth(image, (32, 32), boxes=boxes, box_labels=labels))
        yield Batch(torch.rand(2, 1, 32, 32, generator=generator), truths, (32, 32))


def _cases(rank=0, world=1):
    """Boxes, images, and a single batch, so that the second process has none."""
    results = []
    cases = ((scenes(), ['0', '2'], 20), (_labelled(), 'auto', 100), (_labelled(1), 'auto', 100))
    for data, layers, max_samples in cases:
        meter = SeparationMeter(layers, max_samples=max_samples, order=2)
        data, model = list(data), network()
        meter.prepare(model, data[0], _forward)
        results.append(meter.measure(model, data[rank::world], _forward).to_dict())
    return results


def _failure(rank):
    """What a process says when only the second has a label that is no class."""
    data = list(_labelled(2))[rank : rank + 1]
    data[0].truths[4].label += 100 * rank
    meter = SeparationMeter(classes=[str(n) for n in range(10)])
    with pytest.raises(SeparationError) as failure:
        meter.measure(network(), data, _forward)
    return str(failure.value)


def _process(rank, world, path):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{path}', rank=rank, world_size=world)
    torch.save((_cases(rank, world), _failure(rank)), f'{path}-{rank}')
    dist.destroy_process_group()


def _forward(model, inputs):
    return (model if inputs.shape[-1] == 8 else model[:3])(inputs)


def _labelled(batches=5):
    images, labels = digits(50 * batches)
    for start in range(0, 50 * batches, 50):
        rows = range(start, start + 50)
        truths = [GroundTruth(row, label=int(labels[row])) for row in rows]
        yield Batch(images[start : start + 50], truths, (8, 8))


def test_two_processes_give_exactly_the_index_of_one(tmp_path):
    mp.spawn(_process, (2, str(tmp_path / 'store')), nprocs=2)
    expected = _cases()
    assert [case['layers'][0]['num_samples'] for case in expected] == [20, 100, 50]
    for rank in range(2):
        found, failure = torch.load(tmp_path / f'store-{rank}')
        assert found == expected
        assert re.match(r'Label 10\d \(gt_label of image 54\) is none of the 10 classes', failure)


def test_measuring_with_a_sampler_object():
    profile = measure_separation(network(), batches(), ['5'], ImageSamples(pool='flatten'))
    assert profile.samples == 'image'
    with pytest.raises(KeyError):
        profile['6']
