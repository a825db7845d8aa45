import logging
from types import SimpleNamespace

import pytest

from mmlayerwise.engine.hooks import SeparationEarlyStoppingHook, SeparationHook
from mmlayerwise.separation import SeparationError, wilson_interval
from mmlayerwise.separation.profile import LayerSeparation, SeparationProfile
from mmlayerwise.separation.record import Measurement, SeparationRecord
from tests.test_engine.test_hooks.runs import log_of, runner_of, tiny_config


def measurement(step, index, num_samples=1000):
    layer = LayerSeparation('neck', index=index, num_samples=num_samples)
    return Measurement(step, step, SeparationProfile([layer], 'image'))


def run_with(*indices):
    """A run whose SeparationHook has measured these indices already."""
    measuring = SeparationHook()
    measuring.meter.chosen = [SimpleNamespace(name='backbone'), SimpleNamespace(name='neck')]
    measuring.record.measurements = [measurement(n, index) for n, index in enumerate(indices)]
    loop = SimpleNamespace(stop_training=False)
    return SimpleNamespace(hooks=[measuring], train_loop=loop, logger=logging.getLogger('test'))


def stops_after(hook, indices):
    """How many measurements are made until the hook stops the run; None if it goes on."""
    run = run_with()
    hook.before_train(run)
    for number, index in enumerate(indices):
        run.hooks[0].record.add(measurement(number, index))
        hook.after_val_epoch(run, {})
        hook.after_val_epoch(run, {})  # a validation without a measurement doesn't count
        if run.train_loop.stop_training:
            return number + 1
    return None


@pytest.mark.parametrize(
    ('indices', 'expected'),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], None),
        ([0.5, 0.5, 0.5, 0.5, 0.9], 4),
        ([0.5, 0.6, 0.59, 0.58, 0.57], 5),
        ([0.5, 0.501, 0.5015, 0.503, 0.504], None),  # rises of 0.001 that add up
        ([0.5, 0.501, 0.501, 0.501], 4),
        ([0.5, None], 2),  # could not be measured: training has diverged
    ],
)
def test_training_stops_when_the_index_tends_to_rise_no_more(indices, expected):
    assert stops_after(SeparationEarlyStoppingHook('neck'), indices) == expected


def test_a_rise_within_the_interval_is_none_where_confidence_is_asked_for():
    upper = wilson_interval(0.5, 1000, 0.95)[1]
    small, large = upper - 0.001, upper + 0.001
    for index, expected in ((small, 2), (large, None)):
        hook = SeparationEarlyStoppingHook('neck', patience=1, confidence=0.95)
        assert stops_after(hook, [0.5, index]) == expected
    # The bar rises with the best index: its own interval counts.
    hook = SeparationEarlyStoppingHook('neck', patience=1, confidence=0.95)
    assert stops_after(hook, [0.5, 0.9, 0.91]) == 3
    assert hook.min_delta == pytest.approx(wilson_interval(0.9, 1000, 0.95)[1] - 0.9)


def test_a_threshold_stops_at_once():
    hook = SeparationEarlyStoppingHook('neck', stopping_threshold=0.95)
    assert stops_after(hook, [0.5, 0.96, 0.97]) == 2


def test_a_resumed_run_counts_what_was_measured_before():
    run = run_with(0.5, 0.6, 0.6, 0.6)
    hook = SeparationEarlyStoppingHook('neck', patience=3)
    hook.before_train(run)
    assert not run.train_loop.stop_training
    run.hooks[0].record.add(measurement(4, 0.6))
    hook.after_val_epoch(run)
    assert run.train_loop.stop_training
    # A run that had stopped does not train on.
    run = run_with(0.5, 0.5, 0.5)
    SeparationEarlyStoppingHook('neck', patience=2).before_train(run)
    assert run.train_loop.stop_training


def test_mistakes_show_before_the_first_epoch():
    with pytest.raises(SeparationError, match=r"'nek' is not among .* backbone, neck"):
        SeparationEarlyStoppingHook('nek').before_train(run_with())
    with pytest.raises(SeparationError, match=r'add .*SeparationHook'):
        SeparationEarlyStoppingHook('neck').before_train(SimpleNamespace(hooks=[]))
    for wrong in (dict(patience=0), dict(min_delta=-1), dict(confidence=1.0)):
        with pytest.raises(SeparationError, match='expected patience'):
            SeparationEarlyStoppingHook('neck', **wrong)


STOPPING = {
    'own': dict(type='mmlayerwise.SeparationEarlyStoppingHook', layer='neck[0]', patience=2),
    # mmengine's hook on the metric, as docs/separation_uses.md shows it.
    'stock': dict(
        type='EarlyStoppingHook',
        monitor='separation/neck[0]',
        rule='greater',
        min_delta=0.002,
        patience=2,
    ),
}


@pytest.mark.parametrize('kind', STOPPING)
def test_a_network_that_learns_nothing_is_stopped(kind, tmp_path):
    cfg = tiny_config('classification', tmp_path, dict(layers=['neck']))
    cfg.custom_hooks.append(STOPPING[kind])
    cfg.train_cfg.max_epochs = 8
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.model.backbone.norm_cfg = dict(type='BN', momentum=0.0)
    runner = runner_of(cfg)
    runner.train()
    record = SeparationRecord.load(tmp_path / 'separation.json')
    assert [one.epoch for one in record.measurements] == [1, 2, 3]
    assert runner.epoch == 3
    assert 'did not improve' in log_of(tmp_path)
