import json

import pytest

from tests.test_tools.tools import ROOT, load_tool

CLASSIFIER = str(ROOT / 'configs/quickstart/classification.py')


def benchmark(*arguments):
    load_tool('analysis_tools/benchmark').main(list(arguments))


def test_a_model_is_timed_on_its_test_data(tmp_path, capsys):
    out = tmp_path / 'speed.json'
    benchmark(CLASSIFIER, '--max-iter', '3', '--repeat-num', '2', '--out', str(out))
    result = json.loads(out.read_text())
    assert [run['num_images'] for run in result['runs']] == [3, 3]
    assert all(run['images_per_second'] > 0 for run in result['runs'])
    assert result['num_parameters'] > 0
    assert capsys.readouterr().out.count('images a second') == 2


def test_a_detector_is_timed_on_a_random_image(capsys):
    pytest.importorskip('mmdet')
    benchmark(
        'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', '--shape', '64', '64', '--max-iter', '1',
        '--num-warmup', '0', '--fuse-conv-bn',
    )  # fmt: skip
    assert 'images a second' in capsys.readouterr().out


def test_a_missing_checkpoint_is_named():
    with pytest.raises(SystemExit, match=r"'nowhere.pth' does not exist"):
        benchmark(CLASSIFIER, '--checkpoint', 'nowhere.pth')


def test_zero_images_are_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark(CLASSIFIER, '--max-iter', '0')
    assert '--max-iter must be at least 1' in capsys.readouterr().err
