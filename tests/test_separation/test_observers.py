import pytest
import torch
from torch import nn

from mmlayerwise.separation import SeparationMeter
from mmlayerwise.separation.batches import as_batches
from mmlayerwise.separation.observers import IndexObserver, MeterObserver
from mmlayerwise.utils.errors import UserError


class Recording(MeterObserver):
    def __init__(self):
        self.selections, self.layers = [], []

    def on_selection(self, candidates, kept):
        self.selections.append((candidates, kept))

    def on_layer(self, layer, samples, found):
        self.layers.append((layer.name, samples, found))


class Broken(nn.Module):
    def forward(self, values):
        return values * float('nan')


def test_an_observer_is_shown_the_samples_of_every_layer_and_measurement():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), Broken())
    inputs = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 3
    observer = Recording()
    meter = SeparationMeter(
        ['0', '2', '3'], max_samples=12, order=2, keep_going=True, observers=[observer]
    )

    def measured():
        return meter.measure(model, as_batches([(inputs, labels)]), lambda net, x: net(x))

    profile = measured()
    ((candidates, kept),) = observer.selections
    assert {one.truth.image for one in candidates} == {number >> 24 for number in kept.tolist()}
    assert len(kept) == 12
    # The layer that could not be measured is not shown.
    assert [name for name, *_ in observer.layers] == ['0', '2']
    assert profile['3'].error is not None
    name, samples, found = observer.layers[1]
    assert samples.ids.tolist() == kept.tolist()
    rows = samples.images
    assert torch.equal(samples.labels, labels[rows])
    with torch.no_grad():
        torch.testing.assert_close(samples.features, model[:3](inputs)[rows])
    distances = torch.cdist(samples.features.double(), samples.features.double())
    nearest = distances.fill_diagonal_(torch.inf).sort(1)
    assert torch.equal(found.neighbors.indices, nearest.indices[:, :2])
    torch.testing.assert_close(found.neighbors.distances, nearest.values[:, :2])
    assert found.index == profile[name].index
    measured()
    assert len(observer.selections) == 2
    assert len(observer.layers) == 4


def test_further_indices_are_measured_by_name():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    inputs = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    observer = IndexObserver(['separation_index', 'center_separation_index'])
    meter = SeparationMeter(['0', '2'], observers=[observer])
    profile = meter.measure(
        model, as_batches([(inputs, torch.arange(30) % 3)]), lambda net, x: net(x)
    )
    assert profile['0'].indices == {}
    observer.fill(profile)
    for layer in profile.layers:
        assert layer.indices == {
            'separation_index': layer.index,
            'center_separation_index': layer.center,
        }
    with pytest.raises(UserError, match="'silhouette' is not among the separation_indices"):
        IndexObserver(['silhouette'])
