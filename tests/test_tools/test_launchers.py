import os
import socket
import sys

import pytest
import torch

from tests.test_tools.tools import ROOT, TOY_CONFIG, log_of, run_process

TOOLS = ROOT / 'tools'


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


@pytest.fixture
def srun(tmp_path):
    """A stand-in for slurm on a machine without it: `srun` prints what it was asked to run."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    script = folder / 'srun'
    script.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    script.chmod(0o755)
    return {'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}'}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='tests the CPU; this machine has CUDA')
def test_two_processes_on_the_cpu_train_and_test_one_model(tmp_path):
    done = run_process(
        [
            TOOLS / 'dist_train.sh', TOY_CONFIG, 2, '--work-dir', tmp_path,
            '--cfg-options', 'model.sync_bn=True', 'env_cfg.dist_cfg.backend=nccl',
        ],
        {'PORT': free_port()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    checkpoint = tmp_path / 'epoch_1.pth'
    # Eight samples in batches of two, shared by two processes.
    assert torch.load(checkpoint, weights_only=True)['meta']['iter'] == 2
    log = log_of(tmp_path)
    assert 'talk over gloo instead of nccl' in log
    assert '1 SyncBN layers work as BN' in log

    tested = run_process(
        [TOOLS / 'dist_test.sh', TOY_CONFIG, checkpoint, 2, '--work-dir', tmp_path / 'test'],
        {'PORT': free_port()},
    )
    assert tested.returncode == 0, tested.stderr
    assert 'accuracy: ' in log_of(tmp_path / 'test')


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_a_launcher_without_arguments_explains_itself(name):
    done = run_process([TOOLS / f'{name}.sh'])
    assert done.returncode == 2
    assert f'tools/{name}.sh' in done.stderr
    assert 'PYTHON=python' in done.stderr


def test_slurm_train_asks_for_the_devices_and_passes_options_on(srun):
    done = run_process(
        [
            TOOLS / 'slurm_train.sh', 'gpu', 'my job', 'config.py', 'work dir',
            '--amp', '--cfg-options', 'key=a b',
        ],
        {**srun, 'GPUS': '16', 'SRUN_ARGS': '--exclusive --time=1:00'},
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        '--partition=gpu', '--job-name=my job', '--gres=gpu:8', '--ntasks=16',
        '--ntasks-per-node=8', '--cpus-per-task=5', '--kill-on-bad-exit=1', '--exclusive',
        '--time=1:00', sys.executable, '-u', f'{TOOLS}/train.py', 'config.py',
        '--work-dir=work dir', '--launcher=slurm', '--amp', '--cfg-options', 'key=a b',
    ]  # fmt: skip


def test_slurm_test_without_gpus_asks_for_none(srun):
    done = run_process(
        [TOOLS / 'slurm_test.sh', 'cpu', 'job', 'config.py', 'weights.pth', '--out', 'a.pkl'],
        {**srun, 'GPUS': '2', 'GPUS_PER_NODE': '0'},
    )
    assert done.stdout.splitlines() == [
        '--partition=cpu', '--job-name=job', '--ntasks=2', '--ntasks-per-node=2',
        '--cpus-per-task=5', '--kill-on-bad-exit=1', sys.executable, '-u', f'{TOOLS}/test.py',
        'config.py', 'weights.pth', '--launcher=slurm', '--out', 'a.pkl',
    ]  # fmt: skip
