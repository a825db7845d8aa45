import json

import pytest
import torch
from torch import nn

from mmlayerwise.engine.runner.layerwise_record import LayerwiseRecord, take_snapshot
from mmlayerwise.forward import find_layers


def test_the_record_counts_epochs_and_survives_a_round_trip(tmp_path):
    record = LayerwiseRecord()
    record.start('first')
    record.add(None, None, 0.25, 0.0)
    record.add(0.5, 0.125, 0.75, 1.5)
    assert (record.first, record.last['separation_index']) == (0.25, 0.75)
    record.save(tmp_path / 'layerwise.json')
    written = json.loads((tmp_path / 'layerwise.json').read_text())
    epochs = [
        dict(epoch=0, loss=None, relative_distance=None, separation_index=0.25, seconds=0.0),
        dict(epoch=1, loss=0.5, relative_distance=0.125, separation_index=0.75, seconds=1.5),
    ]
    assert written == [dict(layer='first', epochs=epochs)]
    other = LayerwiseRecord()
    other.load_state_dict(record.state_dict())
    other.add(0.1, 0.2, 0.5, 1.0)
    assert record.last['separation_index'] == 0.75  # nothing is shared
    assert len(other.layers[0]['epochs']) == 3


@pytest.mark.parametrize(
    ('distance', 'index', 'collapsed'),
    [(1e-4, 0.25, True), (1e-4, 0.26, False), (0.01, 0.2, False)],
)
def test_features_that_became_alike_without_separating_collapsed(distance, index, collapsed):
    record = LayerwiseRecord()
    record.start('first')
    record.add(None, None, 0.25, 0.0)
    assert not record.collapsed  # nothing was trained
    record.add(0.3, 0.5, 0.2, 1.0)
    record.add(0.2, distance, index, 1.0)
    assert record.collapsed is collapsed


@pytest.fixture
def model():
    def block(channels):
        return nn.Sequential(nn.Conv2d(channels, 2, 1), nn.BatchNorm2d(2), nn.ReLU())

    return nn.Sequential(block(3), block(2), nn.Flatten(), nn.Linear(8, 2))


def test_a_snapshot_holds_the_layers_with_their_statistics_and_nothing_else(model):
    layers = find_layers(model, lambda: model(torch.randn(1, 3, 2, 2)))
    snapshot = take_snapshot(model, layers[:1])
    assert set(snapshot) == {key for key in model.state_dict() if key.startswith('0.')}
    assert '0.1.running_mean' in snapshot
    with torch.no_grad():
        model[0][0].weight.add_(1)
        model[0][1].running_mean.add_(1)
    assert not torch.equal(snapshot['0.0.weight'], model[0][0].weight)
    model.load_state_dict(snapshot, strict=False)
    assert torch.equal(snapshot['0.1.running_mean'], model[0][1].running_mean)
    assert set(take_snapshot(model, layers)) == {
        key for key in model.state_dict() if not key.startswith('3.')
    }
