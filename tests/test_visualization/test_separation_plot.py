import cv2
import pytest

from mmlayerwise.separation import SeparationError
from mmlayerwise.separation.record import Measurement, SeparationRecord
from mmlayerwise.visualization.separation_plot import _limits, draw_separation
from tests.test_separation.test_record import profile


@pytest.mark.parametrize(('layers', 'epochs'), [(1, 1), (3, 2), (40, 12), (200, 3)])
def test_any_number_of_layers_and_epochs_is_drawn(layers, epochs, tmp_path):
    indices = [0.2 + 0.6 * n / layers for n in range(layers)]
    record = SeparationRecord(
        {}, [Measurement(n, n, profile(*(i + n / 100 for i in indices))) for n in range(epochs)]
    )
    draw_separation(record, tmp_path / 'separation.png')
    picture = cv2.imread(str(tmp_path / 'separation.png'))
    assert picture.std() > 5
    assert 700 < picture.shape[1] < 6000
    assert [path.name for path in tmp_path.iterdir()] == ['separation.png']


def test_the_axis_shows_index_interval_and_chance():
    low, high = _limits(SeparationRecord({}, [Measurement(0, 0, profile(0.3, 0.7))]))
    assert low <= 0.1
    assert 0.8 <= high <= 1


def test_layers_that_failed_are_gaps(tmp_path):
    failed = profile(0.5, 0.6, 0.7)
    failed.layers[1].index = None
    draw_separation(SeparationRecord({}, [Measurement(0, 0, failed)]), tmp_path / 'a.png')
    assert (tmp_path / 'a.png').exists()


def test_an_empty_record_is_refused(tmp_path):
    with pytest.raises(SeparationError, match='no measurement'):
        draw_separation(SeparationRecord(), tmp_path / 'separation.png')
