import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
import torch

import mmlayerwise
from mmlayerwise.separation import (
    LayerSeparation,
    SeparationError,
    SeparationMeter,
    SeparationProfile,
)
from mmlayerwise.separation.record import Measurement, SeparationRecord
from tests.test_separation.test_meter import Diverged, scenes

SCHEMA = Path(mmlayerwise.__file__).parent / 'separation' / 'separation.schema.json'


def profile(*indices):
    layers = [
        LayerSeparation(
            f'layer{n}',
            index,
            (index - 0.1, index + 0.1),
            chance=0.1,
            num_samples=50,
            dimension=8,
            shape=(8,),
            order=5,
            high_order=0.2,
            soft=0.3,
            anti=0.1,
            center=0.4,
            per_class={'cat': (index, 50)},
        )
        for n, index in enumerate(indices)
    ]
    return SeparationProfile(layers, 'box', ['gone'])


def record(*iterations):
    return SeparationRecord(
        {'seed': 0}, [Measurement(n, n * 10, profile(0.5 + n / 100, 0.25)) for n in iterations]
    )


def test_a_record_survives_its_file(tmp_path):
    path = tmp_path / 'deep' / 'separation.json'
    record(1, 2).save(path)
    data = json.loads(path.read_text())
    assert (data['format'], data['version']) == ('mmlayerwise.separation', 1)
    assert data['measurements'][1]['epoch'] == 2
    assert data['measurements'][1]['layers'][0]['index'] == 0.52
    again = SeparationRecord.load(path)
    again.save(tmp_path / 'again.json')
    assert (tmp_path / 'again.json').read_text() == path.read_text()
    assert again.layers() == ['layer0', 'layer1']
    assert sorted(one.name for one in path.parent.iterdir()) == ['separation.json']


def test_a_repeated_iteration_replaces_the_earlier_measurement():
    found = record(1, 2, 3)
    found.add(Measurement(2, 20, profile(0.9)))
    assert [(one.epoch, one.profile.layers[0].index) for one in found.measurements] == [
        (1, 0.51),
        (2, 0.9),
    ]


def test_a_record_of_another_version_is_named(tmp_path):
    path = tmp_path / 'separation.json'
    path.write_text('{"format": "mmlayerwise.separation", "version": 2}')
    message = r'separation record of version 2; this mmlayerwise reads version 1\. Use the'
    with pytest.raises(SeparationError, match=message):
        SeparationRecord.load(path)


def test_fields_that_a_later_mmlayerwise_added_are_left_out(tmp_path):
    path = tmp_path / 'separation.json'
    record(1).save(path)
    known, data = (json.loads(path.read_text()) for _ in range(2))
    data['measurements'][0]['layers'][0]['colour'] = 'red'
    data['measurements'][0]['weather'] = data['weather'] = 'fine'
    path.write_text(json.dumps(data))
    SeparationRecord.load(path).save(path)
    assert json.loads(path.read_text()) == known


def test_a_record_of_before_a_field_was_added_is_read(tmp_path):
    path = tmp_path / 'separation.json'
    record(1).save(path)
    data = json.loads(path.read_text())
    for layer in data['measurements'][0]['layers']:
        for added in ('per_size', 'level', 'sketch_dimension', 'distortion'):
            del layer[added]
    path.write_text(json.dumps(data))
    (measurement,) = SeparationRecord.load(path).measurements
    assert (measurement.profile.layers[0].per_size, measurement.profile.layers[0].level) == (
        {},
        None,
    )


@pytest.fixture(scope='module')
def validator():
    schema = json.loads(SCHEMA.read_text(encoding='utf-8'))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_describes_every_field(validator):
    definitions = validator.schema['$defs']
    layer = {field.name for field in fields(LayerSeparation)}
    assert set(definitions['layer']['properties']) == layer
    measurement = {'epoch', 'iteration'} | {field.name for field in fields(SeparationProfile)}
    assert set(definitions['measurement']['properties']) == measurement
    assert all('description' in one for one in definitions['layer']['properties'].values())


def measured():
    """A record of boxes, with a layer that could not be measured."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), Diverged(), torch.nn.Conv2d(2, 2, 3))
    meter = SeparationMeter(['0', '2'], max_samples=20, order=2, keep_going=True)
    profile = meter.measure(model, list(scenes()), lambda net, inputs: net(inputs))
    return SeparationRecord({'seed': 0, 'layers': ['0', '2']}, [Measurement(1, 10, profile)])


def test_a_real_record_follows_the_schema(validator, tmp_path):
    path = tmp_path / 'separation.json'
    found = measured()
    assert found.measurements[0].profile['2'].error
    assert found.measurements[0].profile['0'].per_size
    found.save(path)
    validator.validate(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ('place', 'value'),
    [
        (('version',), 2),
        (('measurements', 0, 'layers', 0, 'index'), 1.5),
        (('measurements', 0, 'layers', 0, 'per_size'), {'huge': [0.5, 3]}),
        (('measurements', 0, 'layers', 0, 'interval'), [0.5]),
        (('measurements', 0, 'epoch'), -1),
    ],
)
def test_the_schema_refuses_what_no_record_holds(place, value, validator, tmp_path):
    path = tmp_path / 'separation.json'
    record(1).save(path)
    data = json.loads(path.read_text())
    validator.validate(data)
    *way, last = place
    inner = data
    for step in way:
        inner = inner[step]
    inner[last] = value
    assert not validator.is_valid(data)


@pytest.mark.parametrize(
    'content',
    ['', '{', '[]', '{"format": "x", "version": 1}', '{"format": "mmlayerwise.separation"}'],
)
def test_a_foreign_file_is_refused(content, tmp_path):
    path = tmp_path / 'separation.json'
    path.write_text(content)
    with pytest.raises(SeparationError, match=r'separation\.json is'):
        SeparationRecord.load(path)
