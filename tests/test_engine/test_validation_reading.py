import json
import os
import socket

import pytest
import torch
import torch.multiprocessing as mp

from mmlayerwise.engine.launch import build_runner
from mmlayerwise.separation import SeparationError
from mmlayerwise.separation.record import SeparationRecord
from tests.test_engine.test_hooks.runs import forget_earlier_runs, log_of, runner_of, tiny_config

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')


def train(folder, hook, *others):
    cfg = tiny_config('classification', folder, hook)
    cfg.custom_hooks += others
    runner = runner_of(cfg)
    runner.train()
    return runner


def measurements(folder):
    return json.loads((folder / 'separation.json').read_text())['measurements']


@pytest.mark.parametrize('others', [(), (dict(type='EMAHook', momentum=0.5),)])
@pytest.mark.parametrize('max_samples', [2000, 13])
def test_both_ways_measure_the_same_samples(others, max_samples, tmp_path):
    for passes in ('own', 'validation'):
        hook = dict(forward_passes=passes, max_samples=max_samples, initial=True)
        runner = train(tmp_path / passes, hook, *others)
        assert not any(module._forward_hooks for module in runner.model.modules())
    own, validation = (measurements(tmp_path / passes) for passes in ('own', 'validation'))
    assert [one['iteration'] for one in validation] == [0, 6, 12]
    assert len(validation[-1]['layers']) == 5
    for left, right in zip(own, validation, strict=True):
        for one, other in zip(left['layers'], right['layers'], strict=True):
            assert one['num_samples'] == min(max_samples, 24)
            # The companions in a batch may change the last bits of the features.
            assert other == {**one, 'index': pytest.approx(one['index'])}


def test_no_further_forward_pass_is_made_and_training_stays_as_it_was(tmp_path, monkeypatch):
    from mmlayerwise.models.classifiers import ImageClassifier

    modes, original = [], ImageClassifier.forward

    def forward(self, inputs, data_samples=None, mode='tensor'):
        modes.append(mode)
        return original(self, inputs, data_samples, mode)

    monkeypatch.setattr(ImageClassifier, 'forward', forward)
    train(tmp_path / 'without', None)
    usual = modes.copy()
    modes.clear()
    train(tmp_path / 'with', {})
    # One pass to find the layers, none to measure them.
    assert sorted(modes) == sorted([*usual, 'predict'])
    before, after = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict']
        for name in ('without', 'with')
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    record = SeparationRecord.load(tmp_path / 'with' / 'separation.json')
    assert record.settings['forward_passes'] == 'validation'
    assert 'in the validation' in log_of(tmp_path / 'with')


def test_every_second_validation_is_read(tmp_path):
    train(tmp_path, dict(interval=2, forward_passes='validation'))
    assert [one['epoch'] for one in measurements(tmp_path)] == [2]


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_boxes_and_pixels_are_refused(task, tmp_path):
    cfg = tiny_config(task, tmp_path, dict(forward_passes='validation'))
    with pytest.raises(SeparationError, match=r'not possible here.*coordinates.*own'):
        runner_of(cfg).train()


def test_a_sampler_that_draws_anew_is_refused_and_auto_runs_the_model_itself(tmp_path):
    cfg = tiny_config('classification', tmp_path, dict(forward_passes='validation'))
    runner = runner_of(cfg)
    loader = runner.build_dataloader(cfg.val_dataloader)
    drawn = torch.utils.data.DataLoader(
        loader.dataset, 4, shuffle=True, collate_fn=loader.collate_fn
    )
    runner.val_loop.dataloader = drawn
    with pytest.raises(SeparationError, match='draws other images each time'):
        runner.train()
    hook = next(one for one in runner.hooks if type(one).__name__ == 'SeparationHook')
    hook.forward_passes, hook.data = 'auto', None
    hook.before_train(runner)
    assert hook.forward_passes == 'own'


def test_an_unknown_choice_is_named(tmp_path):
    with pytest.raises(SeparationError, match=r"one of 'auto', 'own', 'validation', got 'none'"):
        runner_of(tiny_config('classification', tmp_path, dict(forward_passes='none')))


def test_a_validation_that_breaks_off_leaves_no_trace_for_the_next(tmp_path, monkeypatch):
    cfg = tiny_config('classification', tmp_path, {})
    cfg.default_hooks.checkpoint = None
    runner = runner_of(cfg)

    def process(*args, **kwargs):
        raise ValueError('broken')

    with monkeypatch.context() as broken, pytest.raises(ValueError, match='broken'):
        broken.setattr(runner.val_loop.evaluator, 'process', process)
        runner.val()
    runner.val()
    assert not any(module._forward_hooks for module in runner.model.modules())
    assert len(measurements(tmp_path)) == 1


def _validate(rank, world, port, folder):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
    )  # fmt: skip
    # 23 images: the sampler repeats one for the second process.
    cfg = tiny_config('classification', f'{folder}/{world}', dict(max_samples=100))
    cfg.val_dataloader.dataset.indices = 23
    cfg.launcher = 'pytorch'
    cfg.default_hooks.checkpoint = None
    forget_earlier_runs()
    build_runner(cfg, splits=('val',)).val()


@pytest.mark.slow
def test_an_image_that_two_processes_pass_counts_once(tmp_path):
    for world in (1, 2):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        mp.spawn(_validate, (world, port, str(tmp_path)), nprocs=world)
    (one,), (two,) = (measurements(tmp_path / world) for world in ('1', '2'))
    for left, right in zip(one['layers'], two['layers'], strict=True):
        assert left['num_samples'] == right['num_samples'] == 23
        assert left['per_class'].keys() == right['per_class'].keys()
        assert right['index'] == pytest.approx(left['index'], abs=1.5 / 23)
