import pytest

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.record import SeparationRecord
from mmlayerwise.utils.errors import UserError
from mmlayerwise.visualization.report.collect import load_run, with_run
from tests.test_visualization.test_report.examples import measurement


def test_a_run_is_read_from_its_folder_or_its_file(tmp_path):
    record = SeparationRecord(dict(seed=0), [measurement(1, [0.5])])
    record.save(tmp_path / 'separation.json')
    assert load_run(tmp_path) == load_run(tmp_path / 'separation.json')
    assert load_run(tmp_path).measurements[0].epoch == 1


def test_a_folder_without_a_record_is_refused(tmp_path):
    with pytest.raises(UserError, match='SeparationHook'):
        load_run(tmp_path)
    SeparationRecord({}, []).save(tmp_path / 'separation.json')
    with pytest.raises(UserError, match='no measurement yet'):
        load_run(tmp_path)
    (tmp_path / 'separation.json').write_text('{}')
    with pytest.raises(SeparationError, match='not a separation record'):
        load_run(tmp_path)


def test_the_steps_are_the_epochs_of_the_run_and_then_the_checkpoint():
    record = SeparationRecord(dict(checkpoint='a.pth', seed=0), [measurement(0, [0.9])])
    run = SeparationRecord(dict(seed=0), [measurement(epoch, [0.5]) for epoch in (1, 2)])
    whole, steps, notes = with_run(record, run)
    assert steps == ['epoch 1', 'epoch 2', 'this checkpoint']
    assert [one.profile.layers[0].index for one in whole.measurements] == [0.5, 0.5, 0.9]
    assert notes == []
    assert len(run.measurements) == 2


def test_runs_measured_by_iteration_are_named_so():
    run = SeparationRecord({}, [measurement(1, [0.5]), measurement(1, [0.6])])
    run.measurements[1].iteration = 2000
    record = SeparationRecord(dict(checkpoint=None), [measurement(0, [0.9])])
    assert with_run(record, run)[1] == ['iteration 10', 'iteration 2,000', 'initial weights']


def test_a_run_with_other_settings_is_noted():
    record = SeparationRecord(dict(layers='auto', seed=0), [measurement(0, [0.9])])
    run = SeparationRecord(dict(layers='stages', seed=0), [measurement(1, [0.5])])
    (note,) = with_run(record, run)[2]
    assert "layers 'stages' against 'auto'" in note
    assert 'seed' not in note
