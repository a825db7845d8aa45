"""A killed and resumed training has the loss curve of an uninterrupted one."""

import json
import signal
from pathlib import Path

import pytest

from mmlayerwise.utils.checkpoint_check import is_whole
from tests.test_robustness.processes import Finished, run_tool

CONFIG = """
custom_imports = dict(imports=['mmlayerwise', 'tests.test_robustness.toy'])
default_scope = 'mmengine'
model = dict(type='DropoutClassifier')
train_dataloader = dict(
    dataset=dict(type='NoisyPoints'),
    sampler=dict(type='{sampler}', shuffle=True),
    batch_size=4, num_workers={workers}, persistent_workers={workers} > 0)
train_cfg = dict(by_epoch={by_epoch}, max_{unit}s={length})
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=7),
    dict(type='OneCycleLR', eta_max=0.1, total_steps=30, by_epoch=False)]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch={by_epoch}, interval={interval},
                    max_keep_ckpts=1),
    logger=dict(type='LoggerHook', interval=1))
custom_hooks = [
    dict(type='mmlayerwise.RandomStateHook'), dict(type='EMAHook'),
    dict(type='RecordLossHook', path={losses!r})]
log_processor = dict(by_epoch={by_epoch})
randomness = dict(seed=3)
"""
EPOCHS = dict(sampler='DefaultSampler', by_epoch=True, unit='epoch', length=4, interval=1)
ITERATIONS = dict(sampler='InfiniteSampler', by_epoch=False, unit='iter', length=20, interval=5)


class Training:
    """Runs of one config in one work directory, each in a process of its own."""

    def __init__(self, folder: Path, **settings):
        self.folder = folder
        self.losses = folder / 'losses.jsonl'
        self.config = folder / 'toy.py'
        folder.mkdir()
        self.config.write_text(CONFIG.format(losses=str(self.losses), **settings))

    def run(self, *options: str) -> Finished:
        work = str(self.folder / 'work')
        return run_tool('train.py', str(self.config), '--work-dir', work, *options)

    def kill(self, stage: str, iteration: int) -> None:
        hook = f"[dict(type='KillHook', stage='{stage}', iteration={iteration})]"
        hooks = self.config.read_text().replace('custom_hooks = [', f'custom_hooks = {hook} + [')
        whole, self.config = self.config, self.folder / 'toy_killed.py'
        self.config.write_text(hooks)
        done = self.run()
        self.config = whole
        assert done.status == -signal.SIGKILL, done.output

    def curve(self) -> dict[int, str]:
        """Exact loss of each iteration; that of the later run where two have trained it."""
        return dict(json.loads(line) for line in self.losses.read_text().splitlines())

    @property
    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.folder / 'work').glob('[!.]*.pth'))


def uninterrupted(folder: Path, **settings) -> dict[int, str]:
    training = Training(folder, **settings)
    done = training.run()
    assert done.status == 0, done.output
    return training.curve()


@pytest.fixture(scope='module')
def epochs_curve(tmp_path_factory):
    curve = uninterrupted(tmp_path_factory.mktemp('epochs') / 'whole', workers=0, **EPOCHS)
    assert sorted(curve) == list(range(24))
    assert len(set(curve.values())) == 24
    return curve


@pytest.fixture
def training(tmp_path):
    return Training(tmp_path / 'killed', workers=2, **EPOCHS)


def resume_and_compare(training: Training, expected: dict[int, str], start: int) -> str:
    before = len(training.losses.read_text().splitlines())
    done = training.run('--resume')
    assert done.status == 0, done.output
    resumed = [json.loads(line)[0] for line in training.losses.read_text().splitlines()[before:]]
    assert resumed == list(range(start, len(expected)))
    assert training.curve() == expected
    return done.output


# The uninterrupted run loads its data in the main process, the killed ones in two workers.
def test_killed_in_the_middle_of_an_epoch(training, epochs_curve):
    training.kill('training', iteration=15)
    resume_and_compare(training, epochs_curve, start=12)
    assert training.checkpoints == ['epoch_4.pth']


def test_killed_while_writing_the_only_checkpoint_to_keep(training, epochs_curve):
    training.kill('writing', iteration=16)
    assert training.checkpoints == ['epoch_2.pth']  # the old one stays until the new one is whole
    leftovers = list((training.folder / 'work').glob('.*.pth'))
    assert len(leftovers) == 1
    assert not is_whole(leftovers[0])
    resume_and_compare(training, epochs_curve, start=12)
    assert not list((training.folder / 'work').glob('.*.pth'))


def test_killed_before_any_pointer_to_a_checkpoint_was_written(training, epochs_curve):
    training.kill('pointing', iteration=4)
    assert training.checkpoints == ['epoch_1.pth']
    assert not (training.folder / 'work' / 'last_checkpoint').exists()
    resume_and_compare(training, epochs_curve, start=6)


def test_a_truncated_checkpoint_of_another_writer_is_passed_over(training, epochs_curve):
    training.kill('training', iteration=15)
    work = training.folder / 'work'
    content = (work / 'epoch_2.pth').read_bytes()
    (work / 'epoch_3.pth').write_bytes(content[: len(content) // 2])
    (work / 'last_checkpoint').write_text(str(work / 'epoch_3.pth'))
    log = resume_and_compare(training, epochs_curve, start=12)
    assert 'epoch_3.pth: the file is truncated' in log


def test_killed_in_an_iteration_based_training(tmp_path):
    expected = uninterrupted(tmp_path / 'whole', workers=2, **ITERATIONS)
    training = Training(tmp_path / 'killed', workers=0, **ITERATIONS)
    training.kill('training', iteration=13)
    resume_and_compare(training, expected, start=10)
