import pytest
import torch
from mmengine.config import Config

from mmlayerwise.compression import CompressionError
from mmlayerwise.engine.hooks import SeparationPruningHook
from mmlayerwise.engine.launch import build_runner
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
