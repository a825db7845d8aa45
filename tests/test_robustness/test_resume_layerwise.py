"""A killed and resumed layer-wise training has the loss curve of an uninterrupted one."""

import json

import pytest

from tests.test_robustness.test_resume import Training, resume_and_compare

CONFIG = """
custom_imports = dict(imports=['mmlayerwise', 'tests.test_robustness.layerwise_toy'])
default_scope = 'mmengine'
model = dict(type='BlockClassifier')
train_dataloader = dict(
    dataset=dict(type='NoisyImages'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_size=4, num_workers={workers}, persistent_workers={workers} > 0)
train_cfg = dict(
    type='mmlayerwise.LayerwiseTrainLoop', num_forward_layers=2, max_epochs=2, batch_size=8,
    num_samples=24, stop=dict(type='mmlayerwise.SeparationStopRule', max_epochs=3),
    miner=dict(type='mmlayerwise.NearestTripletMiner', memory_size=8))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=7)]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1),
    logger=dict(type='LoggerHook', interval=1))
custom_hooks = [
    dict(type='mmlayerwise.RandomStateHook'), dict(type='EMAHook'),
    dict(type='RecordLossHook', path={losses!r})]
randomness = dict(seed=3)
"""


def training_in(folder, workers):
    training = Training(folder, sampler='', by_epoch=True, unit='', length=0, interval=0, workers=0)
    training.config.write_text(CONFIG.format(workers=workers, losses=str(training.losses)))
    return training


def separation_of(training):
    record = json.loads((training.folder / 'work' / 'layerwise.json').read_text())
    for layer in record:
        for epoch in layer['epochs']:
            del epoch['seconds']
    return record


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    training = training_in(tmp_path_factory.mktemp('layerwise') / 'whole', workers=0)
    done = training.run()
    assert done.status == 0, done.output
    # Two layers of three epochs of three batches, then two epochs of six.
    assert sorted(training.curve()) == list(range(30))
    assert len(set(training.curve().values())) == 30
    return training


# 13: in the middle of layer 2. 10: at its first epoch, with the last checkpoint that of layer 1,
# whose best weights are yet to be restored. 25: in backpropagation.
@pytest.mark.parametrize(('killed', 'start', 'workers'), [(13, 12, 2), (10, 9, 0), (25, 24, 0)])
def test_killed_in_a_layer_or_behind_them(killed, start, workers, uninterrupted, tmp_path):
    training = training_in(tmp_path / 'killed', workers)
    training.kill('training', iteration=killed)
    resume_and_compare(training, uninterrupted.curve(), start)
    assert separation_of(training) == separation_of(uninterrupted)
    assert training.checkpoints == uninterrupted.checkpoints == ['epoch_8.pth']


def test_a_checkpoint_of_other_layers_is_refused(tmp_path):
    training = training_in(tmp_path / 'killed', workers=0)
    training.kill('training', iteration=4)
    done = training.run('--resume', '--cfg-options', 'train_cfg.num_forward_layers=1')
    assert done.status == 1
    assert 'Traceback' not in done.output
    assert "layers ['blocks.0', 'blocks.4'], but the config asks for ['blocks.0']" in done.output
