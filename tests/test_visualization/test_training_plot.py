import cv2
import pytest

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.record import Measurement, SeparationRecord
from mmlayerwise.visualization.training_plot import draw_training
from tests.test_separation.test_record import profile

TRAINING = [{'step': step, 'loss': 1 / step} for step in (1, 2, 3)]


def test_loss_and_index_stand_side_by_side(tmp_path):
    path = tmp_path / 'run.png'
    record = SeparationRecord({}, [Measurement(1, 3, profile(0.3, 0.5, 0.7))])
    draw_training(TRAINING, record, path, title='a run')
    picture = cv2.imread(str(path))
    height, width = picture.shape[:2]
    assert width > 1.5 * height
    assert picture[:, : width // 3].std() > 5
    assert picture[:, width // 2 :].std() > 5
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_without_a_measurement_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(SeparationError, match='no measurement'):
        draw_training(TRAINING, SeparationRecord(), tmp_path / 'run.png')
    assert not list(tmp_path.iterdir())
