import json

import pytest
import yaml

from tests.test_tools.tools import ROOT, load_tool

COMPARISONS = sorted((ROOT / 'tools' / 'dev' / 'side_by_side').glob('*.yml'))


def side_by_side(*arguments):
    load_tool('dev/side_by_side').main([str(one) for one in arguments])


@pytest.fixture
def comparison(tmp_path):
    """Two steps of a very narrow YOLOv2 on eight small scenes."""
    base = ROOT / 'configs/_base_/datasets/digit_scenes_detection.py'
    small = dict(num_scenes=8, image_size=(64, 64), digit_size=(16, 40))
    loader = dict(dataset=small)
    (tmp_path / 'data.py').write_text(
        f'_base_ = {str(base)!r}\ntrain_dataloader = {loader}\ntest_dataloader = {loader}\n'
    )
    system = dict(
        config=str(ROOT / 'configs/yolov2/yolov2_d19_8xb8-ms-160e_coco.py'),
        full_size=[416, 416],
        model={
            'backbone.widen_factor': 0.0625,
            'neck.in_channels': [32, 64],
            'neck.out_channels': 32,
            'neck.passthrough_channels': 4,
            'bbox_head.in_channels': 48,
            'bbox_head.feat_channels': 32,
            'test_cfg.score_thr': 0.0,
        },
    )
    page = tmp_path / 'page.md'
    page.write_text('<!-- tiny: begin -->\n<!-- tiny: end -->\n')
    path = tmp_path / 'tiny.yml'
    settings = dict(
        dataset=str(tmp_path / 'data.py'),
        document=str(page),
        metrics={'mAP': 'coco/bbox_mAP'},
        image_size=[64, 64],
        iterations=2,
        batch_size=4,
        learning_rate=0.001,
        speed_images=2,
        systems={'YOLOv2': system},
    )
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_system_is_trained_once_and_written_into_the_table(comparison, tmp_path, capsys):
    pytest.importorskip('mmdet')
    places = ['--out', tmp_path / 'out', '--work-dir', tmp_path / 'work']
    side_by_side(comparison, *places)
    written = tmp_path / 'out' / 'tiny' / 'yolov2_d19_8xb8-ms-160e_coco.json'
    result = json.loads(written.read_text())
    assert 0 <= result['metrics']['mAP'] <= 1
    assert [one['step'] for one in result['loss']] == [1, 2]
    assert result['full_size']['parameters'] == 50_962_889
    # Counted on paper: 29.47 thousand million operations, of which a multiply-add has two.
    assert result['full_size']['multiply_adds'] == pytest.approx(29.47e9 / 2, rel=0.001)
    assert result['trained']['parameters'] < 300_000
    assert result['frames_per_second'] > 0
    assert f'| {result["metrics"]["mAP"]:.3f} |' in (tmp_path / 'page.md').read_text()

    capsys.readouterr()
    side_by_side(comparison, *places)
    assert 'not trained again' in capsys.readouterr().out
    side_by_side(comparison, *places, '--check')
    (tmp_path / 'page.md').write_text('<!-- tiny: begin -->\nelse\n<!-- tiny: end -->\n')
    with pytest.raises(SystemExit, match='is stale'):
        side_by_side(comparison, *places, '--check')


@pytest.mark.parametrize('path', COMPARISONS, ids=lambda path: path.stem)
def test_the_tables_of_the_documentation_are_those_of_the_results(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    side_by_side(path.relative_to(ROOT), '--check')
    text = (ROOT / yaml.safe_load(path.read_text())['document']).read_text()
    assert text.count(f'<!-- {path.stem}: begin -->') == 1
