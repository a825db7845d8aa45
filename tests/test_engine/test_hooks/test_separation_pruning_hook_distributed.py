"""Two processes over gloo, started by torchrun and resumed, as a user does it."""

import json

import pytest
import torch

from mmlayerwise.utils.checkpoint_check import PRUNING_KEY
from tests.test_engine.compression_runs import write_config
from tests.test_tools.test_launchers import free_port
from tests.test_tools.tools import ROOT, run_process

# Two epochs of two steps in each of two processes; channels go after the first epoch.
CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['tests.test_engine.test_hooks.state_hook'])
train_dataloader = dict(batch_size=20, dataset=dict(indices=80))
val_dataloader = dict(dataset=dict(indices=20))
train_cfg = dict(max_epochs=2, val_interval=2)
randomness = dict(seed=0)
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=1)
)
custom_hooks = [
    dict(
        type='mmlayerwise.SeparationPruningHook',
        epochs=[1],
        budget=0.7,
        drop_limit=0.9,
        max_samples=30,
    ),
    dict(type='StateOfEachProcess'),
]
"""


def train(config, work_dir, *words):
    done = run_process(
        [ROOT / 'tools' / 'dist_train.sh', config, 2, '--work-dir', work_dir, *words],
        {'PORT': free_port()},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses_of(work_dir):
    """Step -> loss, as the first process logged it."""
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row['step']: row['loss'] for row in rows if 'loss' in row}


def states_of(work_dir):
    return [torch.load(work_dir / f'rank_{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes on the CPU')
def test_two_processes_prune_alike_go_on_and_resume(tmp_path):
    config = tmp_path / 'pruned.py'
    config.write_text(CONFIG.format(base=write_config(tmp_path)))
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'

    log = train(config, whole)

    assert log.count('layers lost channels') == 1
    checkpoints = [torch.load(whole / f'epoch_{n}.pth', weights_only=False) for n in (1, 2)]
    (entry,) = checkpoints[0][PRUNING_KEY]
    assert checkpoints[1][PRUNING_KEY] == [entry]
    width = len(entry['plan']['channels']['backbone.layer4.1.conv1'])
    first, second = states_of(whole)
    assert first['parameters']['backbone.layer4.1.conv1.weight'].shape[0] == width < 64
    for name, value in first['parameters'].items():
        assert torch.equal(value, second['parameters'][name])
        assert torch.equal(first['moments'][name], second['moments'][name])
        assert first['moments'][name].shape == value.shape
        assert torch.equal(value, checkpoints[1]['state_dict'][name])
    assert first['steps'] == second['steps'] == {4}  # those before the channels went count
    assert first['all_trained']
    assert second['all_trained']
    fc = 'head.fc.weight'
    assert not torch.equal(first['parameters'][fc], checkpoints[0]['state_dict'][fc])

    train(config, resumed, '--resume', whole / 'epoch_1.pth')

    expected, found = losses_of(whole), losses_of(resumed)
    assert sorted(expected) == [1, 2, 3, 4]
    assert found == {step: expected[step] for step in (3, 4)}
    for before, after in zip(states_of(whole), states_of(resumed), strict=True):
        for name, value in before['parameters'].items():
            assert torch.equal(value, after['parameters'][name])
            assert torch.equal(before['moments'][name], after['moments'][name])
