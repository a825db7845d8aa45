import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from mmlayerwise.separation import Batch, GroundTruth, SeparationError, SeparationMeter
from mmlayerwise.separation.distributed import gather_objects
from mmlayerwise.separation.observers import MeterObserver
from mmlayerwise.separation.shares import SharedSamples
from tests.test_separation.test_neighbors import random

LARGEST_WORLD = 4


class DivergesOnImage(nn.Module):
    """Gives infinity for images whose first value exceeds a limit."""

    def forward(self, x):
        return x / (x.flatten(1)[:, 0] < 1.5).float().view(-1, 1, 1, 1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), DivergesOnImage()
    )


def labelled(batch_size):
    """Skewed classes in images of which some are copies, so that distances tie."""
    images = random(60, 1, 8, 8)
    images[30:40] = images[:10]
    labels = [min(number % 7, 2) for number in range(60)]
    for start in range(0, 60, batch_size):
        numbers = range(start, min(start + batch_size, 60))
        truths = [GroundTruth(number, label=labels[number]) for number in numbers]
        yield Batch(images[start : start + batch_size], truths, (8, 8))


def segmented(batch_size):
    """Images with label maps."""
    images = random(18, 1, 8, 8)
    maps = (images[:, 0] > 0).long() + (images[:, 0].cumsum(1) > 2).long()
    for start in range(0, 18, batch_size):
        truths = [
            GroundTruth(number, (8, 8), label_map=maps[number])
            for number in range(start, min(start + batch_size, 18))
        ]
        yield Batch(images[start : start + batch_size], truths, (8, 8))


CASES = {
    'all images': (labelled(7), {}),
    'a balanced part': (labelled(4), dict(max_samples=20)),
    'sketches': (labelled(7), dict(feature_memory=20_000, distortion=0.7)),
    'small blocks': (labelled(7), dict(max_memory=4000)),
    'fewer batches than processes': (labelled(30), {}),
    'pixels': (segmented(5), dict(max_samples=200)),
}
CASES = {name: (list(batches), options) for name, (batches, options) in CASES.items()}


class Shown(MeterObserver):
    """Keeps what is shown."""

    def __init__(self):
        self.kept, self.layers = None, {}

    def on_selection(self, candidates, kept):
        self.kept = kept.tolist()

    def on_layer(self, layer, samples, found):
        self.layers[layer.name] = (samples.features, samples.ids, found.neighbors.indices)


def measured(name, rank=0, world=1, observers=()):
    batches, options = CASES[name]
    meter = SeparationMeter(
        'auto', **{'max_samples': 500, 'keep_going': True, **options}, order=3, observers=observers
    )
    model = network()
    meter.prepare(model, batches[0], lambda net, inputs: net(inputs))
    return meter.measure(model, batches[rank::world], lambda net, inputs: net(inputs))


def measure_in_a_process(rank, path):
    """Body of one of four processes; smaller worlds are made of the first ones."""
    torch.set_num_threads(1)
    for world in range(rank + 1, LARGEST_WORLD + 1):
        store = f'file://{path}-of-{world}'
        dist.init_process_group('gloo', init_method=store, rank=rank, world_size=world)
        try:
            profiles = {name: measured(name, rank, world).to_dict() for name in CASES}
            torch.save(profiles, f'{path}-{world}-{rank}')
            observe(rank, world)
            repeated_images_count_once(rank, world)
            fail_together(rank == world - 1, rank)
        finally:
            dist.destroy_process_group()


def observe(rank, world):
    """Every layer is shown to one process, whole."""
    observer = Shown()
    measured('a balanced part', rank, world, [observer])
    shown = {}
    for layers in gather_objects(observer.layers):
        assert not shown.keys() & layers.keys()
        shown.update(layers)
    expected = gather_objects(reference() if rank == 0 else None)[0]
    assert observer.kept == expected.kept
    assert shown.keys() == expected.layers.keys()
    for name, values in expected.layers.items():
        assert all(torch.equal(*pair) for pair in zip(shown[name], values, strict=True))


def reference():
    """What one process would show; the meter here must not know of the others."""
    observer = Shown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, 'is_initialized', lambda: False)
        measured('a balanced part', observers=[observer])
    return observer


def repeated_images_count_once(rank, world):
    """As a sampler that pads the shares gives them: the first batch to everyone."""
    batches = CASES['all images'][0]
    mine = batches[:1] + batches[1:][rank::world]
    meter = SeparationMeter(['0'], max_samples=500, order=3)
    profile = meter.measure(network(), mine, lambda net, inputs: net(inputs))
    assert profile['0'].num_samples == 60


def fail_together(last, rank):
    """NaN in one process and one class in all stop every process."""
    bad = random(3, 4) * (torch.nan if last else 1)
    samples = SharedSamples.of(part(bad, rank), 4, torch.device('cpu'))
    with pytest.raises(SeparationError, match=r"3 of \d+ samples hold NaN .* 'conv'"):
        samples.measure(1, None, 2**20, layer='conv')
    assert SharedSamples.of(None, None, torch.device('cpu')) is None


def part(features, rank):
    from mmlayerwise.separation.samples import Extracted

    ids = torch.arange(len(features)) + 100 * rank
    return Extracted(features, ids % 2, ids)


@pytest.fixture(scope='module')
def expected():
    return {name: measured(name).to_dict() for name in CASES}


def test_processes_measure_to_the_bit_what_one_measures(expected, tmp_path):
    path = str(tmp_path / 'profiles')
    mp.spawn(measure_in_a_process, (path,), nprocs=LARGEST_WORLD)
    for world in range(1, LARGEST_WORLD + 1):
        for rank in range(world):
            assert torch.load(f'{path}-{world}-{rank}') == expected


def test_the_cases_are_what_they_are_called(expected):
    def layer(case, number=0):
        return expected[case]['layers'][number]

    assert layer('all images')['num_samples'] == 60
    assert layer('a balanced part')['num_samples'] == 20
    assert [count for _, count in layer('a balanced part')['per_class'].values()] == [7, 6, 7]
    assert layer('all images')['sketch_dimension'] is None
    assert layer('all images')['distortion'] is None
    assert layer('sketches')['dimension'] == 384
    assert layer('sketches')['distortion'] == 0.7
    assert 0 < layer('sketches')['sketch_dimension'] < 384
    assert 0 < layer('sketches')['index'] < 1
    assert layer('small blocks') == layer('all images')
    assert layer('pixels')['num_samples'] > 150
    assert expected['pixels']['samples'] == 'pixel'


def test_the_memory_of_a_device_may_not_suffice(monkeypatch, caplog):
    from mmlayerwise.separation import neighbors

    def scarce(features, device):
        raise torch.OutOfMemoryError('none left')

    monkeypatch.setattr(torch.Tensor, 'to', scarce)
    features = random(5, 4)
    assert neighbors.move_features(features, torch.device('cuda:1')) is features
    assert 'cuda:1 has no memory for 7.63e-05 MiB of features' in caplog.text
    assert 'searched on cpu' in caplog.text


def test_other_errors_of_a_device_are_raised(monkeypatch):
    from mmlayerwise.separation import neighbors

    def broken(features, device):
        raise RuntimeError('device-side assert')

    monkeypatch.setattr(torch.Tensor, 'to', broken)
    with pytest.raises(RuntimeError, match='device-side assert'):
        neighbors.move_features(random(5, 4), torch.device('cuda'))
