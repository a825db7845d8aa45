import pytest
import torch

from mmlayerwise.engine.runner.layerwise_layers import LayersToLearn
from tests.test_engine.test_hooks.runs import log_of, runner_of, tiny_config
from tests.test_engine.test_runner.layerwise_runs import Watch, config, record_of, train


@pytest.fixture(scope='module')
def two_layers(tmp_path_factory):
    """Two layers learned forward, one epoch of backpropagation."""
    folder = tmp_path_factory.mktemp('two_layers')
    cfg = config(folder, 2)
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    return folder, *train(cfg)


def test_layers_come_in_order_with_an_optimizer_each(two_layers):
    folder, runner, watch = two_layers
    names = [layer['layer'] for layer in record_of(folder)]
    assert names == ['backbone.conv1', 'backbone.layer1.0']
    learned = [row.get('layer') for row in watch.rows]
    assert learned[-2:] == [None, None]
    assert learned[:-2] == sorted(learned[:-2])
    assert set(learned[:-2]) == {1, 2}
    kinds = [type(one.optimizer).__name__ for one in watch.wrappers]
    assert kinds == ['Adam', 'Adam', 'AdamW']
    assert watch.wrappers[0].optimizer.defaults['lr'] == 1e-3
    assert runner.optim_wrapper is watch.wrappers[2]


def test_no_module_behind_the_layer_runs(two_layers):
    _, _, watch = two_layers
    for row, (counts, _) in zip(watch.rows, watch.modules, strict=True):
        deep = [name for name in counts if name.startswith(('backbone.layer2', 'head', 'neck'))]
        if row.get('layer'):
            assert not deep
            assert counts['backbone.conv1'] == 1
            assert counts.get('backbone.layer1.0', 0) == row['layer'] - 1
        else:
            assert counts['head'] == 1


def test_hooks_are_called_as_in_any_training(two_layers):
    _, runner, watch = two_layers
    names = [name for name, _ in watch.calls]
    epochs = runner.epoch
    assert names == ['before_train', *['before_train_epoch', 'after_train_epoch'] * epochs,
                     'after_train']  # fmt: skip
    assert [row['iter'] for row in watch.rows] == list(range(runner.iter))
    assert runner.max_epochs == epochs
    assert runner.max_iters == runner.iter


def test_only_the_layers_so_far_change(two_layers):
    folder, _, watch = two_layers
    own = ('backbone.conv1', 'backbone.bn1'), ('backbone.layer1.0',)
    earlier = ()
    for layer, first in enumerate((0, len(record_of(folder)[0]['epochs']) - 1)):
        start, end = watch.weights[first], watch.weights[first + 1]
        changed = {name for name in start if not torch.equal(start[name], end[name])}
        assert any(name.startswith(own[layer]) for name in changed)
        earlier += own[layer]
        assert all(name.startswith(earlier) for name in changed)


def test_the_log_tells_layer_loss_index_and_step(two_layers):
    folder, _, watch = two_layers
    log = log_of(folder)
    assert 'Learning layer 1 of 2 forward: backbone.conv1' in log
    assert 'layer: 2  batch_separation_index: ' in log
    assert 'Layer 2 of 2, backbone.layer1.0, epoch 1, loss ' in log
    assert '2 layers are learned forward and trained on' in log
    last = [line for line in log.splitlines() if 'Epoch(train)' in line][-1]
    assert 'layer:' not in last  # nothing stale
    assert 'separation_index' not in last
    assert all(0 <= row['batch_separation_index'] <= 1 for row in watch.rows if 'layer' in row)


def test_the_average_goes_on_from_the_restored_weights(two_layers):
    folder, runner, watch = two_layers
    first = len(record_of(folder)[0]['epochs']) - 1
    for epoch in (first, runner.epoch - 1):  # where layer 2, and backpropagation, begin
        for name, _ in runner.model.named_parameters():
            assert torch.equal(watch.averages[epoch][name], watch.weights[epoch][name]), name
    # Within a layer it is an average.
    name = 'backbone.conv1.weight'
    assert not torch.equal(watch.averages[1][name], watch.weights[1][name])
    checkpoint = torch.load(folder / f'epoch_{runner.epoch}.pth', weights_only=False)
    assert checkpoint['ema_state_dict']['steps'] == runner.iter
    for value in checkpoint['state_dict'].values():
        assert torch.isfinite(value.float()).all()


def test_the_best_weights_are_restored(tmp_path, monkeypatch):
    values = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr(LayersToLearn, 'separation_index', lambda *_: next(values))
    cfg = config(tmp_path, stop=dict(type='SeparationStopRule', patience=3))
    _, watch = train(cfg)
    best, restored = watch.weights[1], watch.weights[4]
    later = watch.weights[3]
    assert [row['layer'] for row in watch.rows[:8]] == [1] * 8
    assert all(torch.equal(best[name], restored[name]) for name in best)
    assert not torch.equal(best['backbone.conv1.weight'], later['backbone.conv1.weight'])
    assert not torch.equal(best['backbone.bn1.running_mean'], later['backbone.bn1.running_mean'])


def test_a_layer_that_keeps_its_first_weights_normalises_all_the_same(tmp_path, monkeypatch):
    values = iter([0.5, 0.4])
    monkeypatch.setattr(LayersToLearn, 'separation_index', lambda *_: next(values))
    cfg = config(tmp_path, freeze=True, stop=dict(type='SeparationStopRule', max_epochs=1))
    runner, watch = train(cfg)
    start, kept = watch.weights[0], runner.model.backbone
    assert torch.equal(kept.conv1.weight, start['backbone.conv1.weight'])
    inputs = torch.cat(
        [batch.inputs['inputs'] for batch in runner.train_loop.found.data.batches(runner.model)]
    )
    with torch.no_grad():
        outputs = kept.conv1(inputs)
        mean, variance = outputs.mean((0, 2, 3)), outputs.var((0, 2, 3))
        assert kept.bn1(outputs).std() == pytest.approx(1, rel=0.1)
    torch.testing.assert_close(kept.bn1.running_mean, mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(kept.bn1.running_var, variance, rtol=0.1, atol=1e-4)
    assert not torch.equal(kept.bn1.running_mean, torch.zeros(4))


def test_learning_locally_leaves_earlier_layers_alone(tmp_path):
    _, watch = train(
        config(tmp_path, 2, scope='local', stop=dict(max_epochs=1, type='SeparationStopRule'))
    )
    start, end = watch.weights[1], watch.weights[2]
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert all(name.startswith('backbone.layer1.0') for name in changed)
    training = watch.modules[2][1]
    assert not training['backbone.bn1']
    assert training['backbone.layer1.0.bn1']


@pytest.mark.parametrize('freeze', [True, False])
def test_learned_layers_are_frozen_or_trained_on(freeze, tmp_path):
    runner, watch = train(config(tmp_path, freeze=freeze))
    before, after = watch.weights[max(watch.weights)], runner.model.state_dict()
    kept = all(
        torch.equal(before[name], after[name])
        for name in before
        if name.startswith(('backbone.conv1', 'backbone.bn1'))
    )
    assert kept is freeze
    assert not torch.equal(before['head.fc.weight'], after['head.fc.weight'])
    last = 'backbone.layer4.1.conv2.weight'
    assert not torch.equal(before[last], after[last])


def test_all_layers_leave_the_head_alone_to_backpropagation(tmp_path):
    cfg = config(tmp_path, 'all', stop=dict(type='SeparationStopRule', max_epochs=1))
    runner, watch = train(cfg)
    before, after = watch.weights[max(watch.weights)], runner.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {'head.fc.weight', 'head.fc.bias'}
    assert len(record_of(tmp_path)) == 9


def test_no_layer_is_plain_backpropagation(tmp_path):
    cfg = config(tmp_path / 'loop', 0)
    runner, watch = train(cfg)
    assert runner.epoch == 1
    plain = config(tmp_path / 'plain', 0)
    plain.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    _, expected = train(plain)
    assert [float(row['loss']) for row in watch.rows] == [
        float(row['loss']) for row in expected.rows
    ]


def test_schedulers_and_validation_belong_to_backpropagation(tmp_path):
    cfg = config(tmp_path, max_epochs=3, val_interval=2)
    whole = tiny_config('classification', tmp_path)
    cfg.val_cfg, cfg.val_evaluator = whole.val_cfg, whole.val_evaluator
    cfg.val_dataloader = whole.val_dataloader
    cfg.param_scheduler = dict(type='LinearLR', start_factor=0.5, end_factor=1.0)  # no end
    runner, watch = runner_of(cfg), Watch()
    runner.register_hook(watch)
    rates, validated = [], []
    watch.before_val_epoch = lambda runner: validated.append(runner.epoch)
    watch.after_train_epoch = lambda runner: rates.append(runner.optim_wrapper.get_lr()['lr'][0])
    runner.train()
    forward = runner.epoch - 3
    assert validated == [forward + 2, forward + 3]
    base = cfg.optim_wrapper.optimizer.lr
    assert rates[:forward] == [1e-3] * forward
    assert rates[forward:] == pytest.approx([base * 0.75, base, base])


def test_wrapper_options_of_the_config_hold_for_the_layers(tmp_path):
    cfg = config(tmp_path)
    cfg.optim_wrapper.update(
        accumulative_counts=3, clip_grad=dict(max_norm=1), paramwise_cfg=dict(bias_lr_mult=2)
    )
    _, watch = train(cfg)
    assert watch.wrappers[0]._accumulative_counts == 3
    assert watch.wrappers[0].clip_grad_kwargs == dict(max_norm=1)
    # Two iterations an epoch: what they accumulated is applied at its end.
    start, end = watch.weights[0], watch.weights[1]
    assert not torch.equal(start['backbone.conv1.weight'], end['backbone.conv1.weight'])


@pytest.mark.gpu
def test_layers_are_learned_in_mixed_precision(tmp_path):
    cfg = config(tmp_path, 2)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    runner, watch = train(cfg)
    kinds = [type(one).__name__ for one in watch.wrappers]
    assert kinds == ['AmpOptimWrapper'] * 3
    assert all(0 < float(row['loss']) < 5 for row in watch.rows)
    assert next(runner.model.parameters()).is_cuda


def test_another_optimizer_can_be_given(tmp_path):
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5))
    _, watch = train(config(tmp_path, optim_wrapper=wrapper))
    assert [type(one.optimizer).__name__ for one in watch.wrappers] == ['SGD', 'AdamW']
