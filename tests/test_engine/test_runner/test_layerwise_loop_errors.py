import pytest

from mmlayerwise.datasets import Digits
from mmlayerwise.engine.runner.layerwise_layers import LayersToLearn
from mmlayerwise.forward import ForwardLearningError, MinedTriplets
from mmlayerwise.utils.errors import UserError
from tests.test_engine.test_hooks.runs import log_of, runner_of
from tests.test_engine.test_runner.layerwise_runs import config, record_of, train


@pytest.mark.parametrize(
    ('train_cfg', 'message'),
    [
        (dict(number=10), r'num_forward_layers=10, but the model has 9 layers(?s:.*)9. backbone'),
        (dict(number=-1), "whole number from 0 or 'all', got -1"),
        (dict(scope='global'), "'joint' or 'local', got 'global'"),
        (dict(max_epochs=0), 'must be at least 1'),
        (dict(num_samples=12), 'num_samples=12 are too few for 10 classes.*at least 20'),
        (dict(batch_size=3), 'batch_size of at least 4, got 3'),
        (dict(layers=['backbone.conv3']), r"matched by 'backbone.conv3'.*backbone.conv1"),
    ],
)
def test_wrong_options_are_refused_before_training(train_cfg, message, tmp_path):
    with pytest.raises(UserError, match=message):
        runner_of(config(tmp_path, **train_cfg)).train()
    assert not list(tmp_path.glob('*.pth'))


def test_a_sampler_without_end_is_refused(tmp_path):
    cfg = config(tmp_path)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    with pytest.raises(ForwardLearningError, match=r'InfiniteSampler never ends.*DefaultSampler'):
        runner_of(cfg).train()


def test_a_checkpoint_of_another_loop_is_refused(tmp_path):
    plain = config(tmp_path)
    plain.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    runner_of(plain).train()
    cfg = config(tmp_path)
    cfg.merge_from_dict(dict(resume=True, load_from=str(tmp_path / 'epoch_1.pth')))
    with pytest.raises(ForwardLearningError, match=r'made by another training loop.*load_from'):
        runner_of(cfg).train()
    cfg.resume = False
    runner_of(cfg).train()
    assert record_of(tmp_path)


def test_losses_that_become_nan_end_the_training_with_a_message(tmp_path):
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=float('nan')))
    with pytest.raises(ForwardLearningError, match=r"'backbone.conv1' became NaN .*iteration 1"):
        train(config(tmp_path, optim_wrapper=wrapper))


def test_features_that_collapse_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(MinedTriplets, 'relative_distance', 1e-4)
    monkeypatch.setattr(LayersToLearn, 'separation_index', lambda *_: 0.5)
    train(config(tmp_path))
    log = log_of(tmp_path).splitlines()
    (line,) = (line for line in log if 'WARNING' in line and 'collapsed' in line)
    assert "The features of layer 'backbone.conv1' collapsed" in line
    assert '1.0e-04 of the squared length' in line
    assert 'separation index 0.5000' in line


@pytest.mark.parametrize(
    ('batch_size', 'message'),
    [(20, 'needs two classes with at least two images'), (None, r'image samples of 1 class\(es\)')],
)
def test_one_class_is_refused(batch_size, message, tmp_path):
    cfg = config(tmp_path, batch_size=batch_size)
    cfg.train_dataloader.dataset.metainfo = dict(classes=Digits.METAINFO['classes'][3:4])
    with pytest.raises(UserError, match=message):
        train(cfg)
    assert not list(tmp_path.glob('*.pth'))


def test_batches_without_a_pair_end_the_training_with_a_message(tmp_path):
    cfg = config(tmp_path, batch_size=None)
    cfg.train_dataloader.batch_size = 1
    with pytest.raises(ForwardLearningError, match='In 40 batches no sample had both'):
        train(cfg)
    cfg = config(tmp_path, batch_size=None, miner=dict(type='NearestTripletMiner', memory_size=30))
    cfg.train_dataloader.batch_size = 1
    cfg.model.backbone.norm_cfg = dict(type='GN', num_groups=2)
    train(cfg)
