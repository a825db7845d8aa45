import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.config import Config

from mmlayerwise.compression import CompressionError
from mmlayerwise.engine.hooks import SeparationPruningHook
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.utils.checkpoint_check import PRUNING_KEY
from tests.test_engine.compression_runs import load, state_of, write_config


def _config(path, work_dir, epochs: int = 3, **hook) -> Config:
    cfg = load(path, work_dir)
    cfg.train_dataloader.dataset.indices = 60
    cfg.train_dataloader.batch_size = 20
    cfg.val_dataloader.dataset.indices = 20
    cfg.train_cfg.max_epochs = epochs
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    cfg.randomness = dict(seed=0)
    hook = {'epochs': [1], 'budget': 0.7, 'drop_limit': 0.9, 'max_samples': 60, **hook}
    cfg.custom_hooks = [dict(type='mmlayerwise.SeparationPruningHook', **hook)]
    return cfg


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A training that prunes after its first epoch, with averaged weights."""
    folder = tmp_path_factory.mktemp('pruned')
    path = write_config(folder)
    cfg = _config(path, folder / 'work')
    cfg.custom_hooks.append(dict(type='EMAHook'))
    runner = build_runner(cfg)
    runner.train()
    return path, folder / 'work', runner


def _count(state) -> int:
    return sum(value.numel() for name, value in state.items() if 'weight' in name)


def test_model_is_smaller_after_the_epoch(run):
    _, work, runner = run
    small = state_of(work / 'epoch_1.pth')
    assert _count(small) < 60_000  # 175,000 in the original
    assert {name: value.shape for name, value in small.items()} == {
        name: value.shape for name, value in runner.model.state_dict().items()
    }


def test_optimizer_trains_what_is_left(run):
    _, work, runner = run
    first = state_of(work / 'epoch_1.pth')['backbone.layer4.1.conv2.weight']
    last = state_of(work / 'epoch_3.pth')['backbone.layer4.1.conv2.weight']
    assert not torch.equal(first, last)
    parameters = {id(one) for one in runner.model.parameters()}
    optimizer = runner.optim_wrapper.optimizer
    assert {id(one) for one in optimizer.param_groups[0]['params']} == parameters
    for parameter, state in optimizer.state.items():
        assert state['exp_avg'].shape == parameter.shape
        assert state['step'] == 9


def test_resumed_run_ends_like_the_whole_one(run, tmp_path):
    path, work, _ = run
    cfg = _config(path, tmp_path)
    cfg.custom_hooks.append(dict(type='EMAHook'))
    cfg.load_from, cfg.resume = str(work / 'epoch_2.pth'), True
    build_runner(cfg).train()
    expected, found = state_of(work / 'epoch_3.pth'), state_of(tmp_path / 'epoch_3.pth')
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_checkpoint_is_tested_with_the_same_config(run, tmp_path):
    path, work, runner = run
    cfg = _config(path, tmp_path)
    cfg.custom_hooks.append(dict(type='EMAHook'))
    cfg.load_from = str(work / 'epoch_3.pth')
    metrics = build_runner(cfg, splits=('test',)).test()
    last = runner.message_hub.get_scalar('val/accuracy/top1').current()
    cfg.test_dataloader.dataset.indices = 20
    assert metrics.keys() == {'accuracy/top1'}
    tested = build_runner(
        Config({**cfg.to_dict(), 'experiment_name': 'again'}), splits=('test',)
    ).test()
    assert tested['accuracy/top1'] == last


def test_checkpoint_without_the_hook_is_refused(run, tmp_path):
    path, work, _ = run
    cfg = _config(path, tmp_path)
    cfg.custom_hooks = []
    cfg.load_from = str(work / 'epoch_3.pth')
    with pytest.raises(Exception, match='SeparationPruningHook'):
        build_runner(cfg, splits=('test',))


@pytest.mark.parametrize('epochs', [[], [0], [-1, 2]])
def test_epochs_are_counted_from_one(epochs):
    with pytest.raises(CompressionError, match='counted from 1'):
        SeparationPruningHook(epochs=epochs)


def _train_in_a_process(rank: int, port: int, path, work) -> None:
    """Body of one of two processes."""
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
    )
    cfg = _config(path, work, epochs=2, max_samples=40)
    cfg.launcher = 'pytorch'
    cfg.model_wrapper_cfg = dict(type='CPUDistributedDataParallel', broadcast_buffers=False)
    runner = build_runner(cfg)
    runner.train()
    names = {name: value.clone() for name, value in runner.model.module.named_parameters()}
    torch.save(names, f'{work}/rank_{rank}.pth')


@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes on the CPU')
def test_two_processes_prune_alike_and_go_on_synchronised(tmp_path):
    path = write_config(tmp_path)
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    mp.spawn(_train_in_a_process, (port, path, tmp_path / 'work'), nprocs=2)
    first, second = (torch.load(tmp_path / 'work' / f'rank_{rank}.pth') for rank in range(2))
    pruned = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)
    assert len(pruned[PRUNING_KEY]) == 1
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name])
        assert value.shape == pruned['state_dict'][name].shape
    assert not torch.equal(first['head.fc.weight'], pruned['state_dict']['head.fc.weight'])
