from types import SimpleNamespace

from mmlayerwise.engine.scalar_log import curve_of, read_scalars


def test_the_log_of_the_run_is_read_and_one_value_picked(tmp_path):
    folder = tmp_path / 'now' / 'vis_data'
    folder.mkdir(parents=True)
    text = '{"loss": 2.0, "lr": 0.1, "step": 1}\n{"coco/bbox_mAP": 0.5, "step": 1}\n'
    (folder / 'scalars.json').write_text(text)
    lines = read_scalars(SimpleNamespace(work_dir=str(tmp_path), timestamp='now'))
    assert curve_of(lines, 'loss') == [{'step': 1, 'loss': 2.0}]
    assert curve_of(lines, 'coco/bbox_mAP', 'value') == [{'step': 1, 'value': 0.5}]
