from mmlayerwise.separation.table import format_table
from tests.test_separation.test_record import profile


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


def test_sizes_levels_classes_and_sketches_have_columns_where_there_are_any():
    shown = profile(0.5, 0.25)
    first, second = shown.layers
    first.per_size = {'small': (0.125, 8), 'large': (0.75, 40)}
    first.per_class = {'cat': (0.5, 30), 'traffic light': (0.25, 20)}
    first.level = 0
    second.sketch_dimension, second.dimension = 64, 9000
    header, *lines = format_table(shown).splitlines()
    assert header.split()[7:] == [
        'small', 'large', 'lowest', 'class', 'chance', 'level', 'sketch', 'boxes',
    ]  # fmt: skip
    assert lines[0].split()[6:] == [
        '0.4000', '0.125', '0.750', 'traffic', 'light', '0.25', '0.100', '0', '50',
    ]  # fmt: skip
    assert lines[1].split()[6:] == ['0.4000', 'cat', '0.25', '0.100', '64', 'of', '9000', '50']
    assert len({len(line) for line in (header, *lines)}) == 1
