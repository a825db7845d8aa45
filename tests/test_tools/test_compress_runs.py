"""A detector and a segmentor through the real tools: train, compress, test, train on, and again."""

import json
import re

import pytest
import torch

from tests.test_engine.test_hooks.runs import forget_earlier_runs
from tests.test_tools.tools import ROOT, load_tool, log_of

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

TASKS = {
    'detection': ('epoch_12.pth', 'coco/bbox_mAP_50', 'train_cfg.max_epochs=1', 'epoch_1.pth'),
    'segmentation': ('iter_40.pth', 'mIoU', 'train_cfg.max_iters=2', 'iter_2.pth'),
}
COST = ['parameters', 'FLOPs', 'bytes']


def run(tool, *words):
    """Run a tool as if it were a process of its own."""
    forget_earlier_runs()
    load_tool(tool).main([str(word) for word in words])


def reported(work_dir):
    """The last table that a compression printed: row -> before, after."""
    table = log_of(work_dir).rpartition('Before and after\n')[2].partition('\nResults')[0]
    rows = re.findall(r'^([\w/]+) .*?(-?[\d,.]+) +(-?[\d,.]+)(?: |$)', table, re.MULTILINE)
    return {name: (before, after) for name, before, after in rows}


def metrics_of(config, weights, work_dir):
    """The metrics that ``tools/test.py`` writes."""
    run('test', config, weights, '--work-dir', work_dir)
    (written,) = work_dir.glob('*/*.json')
    found = json.loads(written.read_text())
    return {name: f'{value:.4f}' for name, value in found.items() if 'time' not in name}


def state_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)['state_dict']


@pytest.fixture(scope='module', params=TASKS)
def compressed(request, tmp_path_factory):
    """The folder of a compression, what it printed, and the names of its task."""
    folder = tmp_path_factory.mktemp(request.param)
    config = ROOT / 'tests' / 'test_tools' / f'painted_{request.param}.py'
    checkpoint, *names = TASKS[request.param]
    run('train', config, '--work-dir', folder / 'trained')
    run(
        'compress', config, folder / 'trained' / checkpoint, '--out', folder / 'small',
        '--work-dir', folder / 'work', '--budget', 0.9, '--max-samples', 60, '--drop-limit', 0.3,
    )  # fmt: skip
    return folder / 'small', reported(folder / 'work'), *names


def test_testing_the_files_gives_the_numbers_that_were_printed(compressed, tmp_path):
    small, rows, metric, *_ = compressed
    found = metrics_of(small / 'config.py', small / 'weights.pth', tmp_path)
    assert found == {name: after for name, (_, after) in rows.items() if name not in COST}
    assert float(rows[metric][0]) > 0
    assert float(found[metric]) > 0
    before, after = (int(cost.replace(',', '')) for cost in rows['FLOPs'])
    assert after <= 0.9 * before
    parameters = int(rows['parameters'][1].replace(',', ''))
    assert 0 < parameters <= sum(one.numel() for one in state_of(small / 'weights.pth').values())


def test_training_goes_on_from_the_weights(compressed, tmp_path):
    small, _, _, shorter, checkpoint = compressed
    run(
        'train', small / 'config.py', '--work-dir', tmp_path,
        '--cfg-options', shorter, 'train_cfg.val_interval=1',
    )  # fmt: skip
    assert f'Load checkpoint from {small / "weights.pth"}' in log_of(tmp_path)
    start, trained = state_of(small / 'weights.pth'), state_of(tmp_path / checkpoint)
    shapes = {name: value.shape for name, value in start.items()}
    assert {name: value.shape for name, value in trained.items()} == shapes
    name = next(name for name in start if name.endswith('layer2.0.conv1.weight'))
    moved = (start[name] - trained[name]).abs().max()
    assert 0 < moved < 0.1  # a few steps of 0.004 at most


def test_compressing_again_works_on_what_was_left(compressed, tmp_path):
    small, rows, *_ = compressed
    run(
        'compress', small / 'config.py', small / 'weights.pth', '--out', tmp_path / 'twice',
        '--work-dir', tmp_path / 'work', '--budget', 0.9, '--criterion', 'magnitude',
        '--max-samples', 60,
    )  # fmt: skip
    again = reported(tmp_path / 'work')
    assert {name: before for name, (before, _) in again.items()} == {
        name: after for name, (_, after) in rows.items()
    }
    found = metrics_of(
        tmp_path / 'twice' / 'config.py', tmp_path / 'twice' / 'weights.pth', tmp_path / 'test'
    )
    assert found == {name: after for name, (_, after) in again.items() if name not in COST}
