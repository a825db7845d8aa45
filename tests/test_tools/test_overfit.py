import json

import pytest

from tests.test_tools.tools import ROOT, load_tool

CONFIG = 'configs/yolov2/yolov2_d19_8xb8-ms-160e_coco.py'


def overfit(*arguments):
    load_tool('dev/overfit').main([str(one) for one in arguments])


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_evidence_is_written_with_its_picture(data_root, tmp_path, monkeypatch, capsys):
    visualization = pytest.importorskip('mmdet.visualization')
    visualization.DetLocalVisualizer.get_instance('visualizer')  # as of an earlier run
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(data_root))
    settings = ['max_iterations=2', 'interval=1', 'image_size=(64,64)', 'num_images=2']
    overfit(
        CONFIG, '--set', *settings, '--out', tmp_path,
        '--work-dir', tmp_path / 'work',
    )  # fmt: skip
    name = 'yolov2_d19_8xb8-ms-160e_coco'
    result = json.loads((tmp_path / f'{name}.json').read_text())
    assert (result['config'], result['metric']) == (CONFIG, 'coco/bbox_mAP_50')
    assert result['reduced']
    assert not result['reached']
    assert result['settings']['max_iterations'] == 2
    assert [line['step'] for line in result['loss']] == [1, 2]
    assert result['num_parameters'] < 4e6
    assert (tmp_path / f'{name}.png').stat().st_size > 1000
    printed = capsys.readouterr().out
    assert 'target 0.9 NOT reached' in printed
    assert f'{name}.json' in printed


def test_settings_come_from_the_file_the_command_line_and_full(monkeypatch):
    read_settings = load_tool('dev/overfit').read_settings
    reduced = read_settings(CONFIG, full=False, changes={'seed': 3})
    assert reduced.reduced
    assert reduced.seed == 3
    assert list(reduced.image_size) == [160, 160]
    full = read_settings(CONFIG, full=True, changes={})
    assert not full.reduced


def test_every_config_of_the_settings_file_exists():
    tool = load_tool('dev/overfit')
    for config in tool.yaml.safe_load(tool.SETTINGS.read_text()):
        assert (ROOT / config).is_file(), config
        tool.read_settings(config, full=False, changes={})


def test_an_unknown_setting_is_refused():
    with pytest.raises(SystemExit, match='there is no setting epochs; see --help'):
        overfit(CONFIG, '--set', 'epochs=3')
