import json

import pytest

from mmlayerwise.separation import LayerSeparation, SeparationError, SeparationProfile
from mmlayerwise.separation.record import Measurement, SeparationRecord, format_table


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


@pytest.mark.parametrize(
    'content',
    ['', '{', '[]', '{"format": "x", "version": 1}', '{"format": "mmlayerwise.separation"}'],
)
def test_a_foreign_file_is_refused(content, tmp_path):
    path = tmp_path / 'separation.json'
    path.write_text(content)
    with pytest.raises(SeparationError, match=r'separation\.json is'):
        SeparationRecord.load(path)


def test_the_table_shows_changes_and_failures():
    now = profile(0.5, 0.25)
    now.layers[1].index, now.layers[1].error = None, 'NaN in layer1'
    lines = format_table(now, profile(0.4, 0.2)).splitlines()
    assert lines[0].split() == [
        'layer', 'index', '95', '%', 'interval', 'change', 'soft', 'centre', 'chance', 'boxes',
    ]  # fmt: skip
    assert lines[1].split()[:6] == ['layer0', '0.5000', '0.400', '-', '0.600', '+0.1000']
    assert lines[2] == 'layer1  NaN in layer1'


def test_the_first_table_has_no_changes():
    lines = format_table(profile(0.5)).splitlines()
    assert 'change' not in lines[0]
    assert lines[1].split()[-4:] == ['0.3000', '0.4000', '0.100', '50']
