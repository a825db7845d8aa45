from types import SimpleNamespace

import torch
from mmengine.hooks import EMAHook
from mmengine.logging import MessageHub
from torch import nn

from mmlayerwise.engine.runner.layerwise_stage import forget_scalars, restart_averages, train_only


def test_only_named_parameters_that_the_model_does_not_freeze_are_trained():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    trainable = list(model[0].parameters())
    train_only(model, {'0.weight', '1.weight'}, trainable)
    assert [name for name, one in model.named_parameters() if one.requires_grad] == ['0.weight']
    train_only(model, {'0.bias'}, trainable)
    assert [name for name, one in model.named_parameters() if one.requires_grad] == ['0.bias']


def test_times_are_remembered_and_losses_forgotten():
    hub = MessageHub.get_instance('test_forget_scalars')
    for name in ('train/loss', 'train/layer', 'train/time', 'train/data_time', 'val/accuracy'):
        hub.update_scalar(name, 1.0)
    forget_scalars(hub)
    assert set(hub.log_scalars) == {'train/time', 'train/data_time', 'val/accuracy'}


def test_averages_start_from_the_weights_there_are():
    model = nn.BatchNorm1d(3)
    hook, runner = EMAHook(), SimpleNamespace(model=model)
    hook.before_run(runner)
    with torch.no_grad():
        model.weight.fill_(7)
        model.running_mean.fill_(5)
    restart_averages(SimpleNamespace(hooks=[object(), hook]), model)
    assert hook.ema_model.module.weight.tolist() == [7] * 3
    assert hook.ema_model.module.running_mean.tolist() == [5] * 3
