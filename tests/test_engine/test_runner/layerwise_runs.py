"""Tiny runs of the layer-wise loop, watched."""

import json
from collections import Counter

from mmengine.hooks import EMAHook, Hook

from tests.test_engine.test_hooks.runs import runner_of, tiny_config


def config(work_dir, number=1, task='classification', images=40, **train_cfg):
    """A tiny run of the loop on a few images."""
    cfg = tiny_config(task, work_dir)
    cfg.train_cfg = dict(
        dict(
            type='mmlayerwise.LayerwiseTrainLoop',
            num_forward_layers=number,
            max_epochs=1,
            num_samples=40,
            batch_size=20,
            stop=dict(type='mmlayerwise.SeparationStopRule', max_epochs=2),
        ),
        **train_cfg,
    )
    if task == 'classification':
        cfg.train_dataloader.dataset.indices = images
        cfg.train_dataloader.batch_size = 20
        cfg.model.backbone.update(base_channels=4, stem_channels=4)
        cfg.model.head.in_channels = 32
    else:
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def weights_of(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


class Watch(Hook):
    """Notes what hooks are told, and keeps weights at the start of each stage."""

    priority = 'LOWEST'

    def __init__(self):
        self.calls, self.rows, self.modules, self.wrappers = [], [], [], []
        self.weights, self.ends, self.averages, self.batches = {}, {}, {}, []

    def _note(self, name):
        if not self.calls or self.calls[-1][0] != name:
            self.calls.append([name, 0])
        self.calls[-1][1] += 1

    def before_train(self, runner):
        self._note('before_train')
        self.counts = Counter()
        for name, module in runner.model.named_modules():
            module.register_forward_hook(lambda *_, name=name: self.counts.update([name]))

    def before_train_epoch(self, runner):
        self._note('before_train_epoch')
        self.weights[runner.epoch] = weights_of(runner)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                average = hook.ema_model.module.state_dict()
                self.averages[runner.epoch] = {key: one.clone() for key, one in average.items()}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.counts.clear()
        samples = data_batch['data_samples']
        self.batches.append([int(one.gt_label) for one in samples if 'gt_label' in one])
        self.training = {name: part.training for name, part in runner.model.named_modules()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.rows.append(dict(outputs, iter=runner.iter, epoch=runner.epoch))
        self.modules.append((dict(self.counts), self.training))
        wrapper = runner.optim_wrapper
        if not any(wrapper is one for one in self.wrappers):
            self.wrappers.append(wrapper)

    def after_train_epoch(self, runner):
        self._note('after_train_epoch')
        self.ends[runner.epoch] = weights_of(runner)

    def after_train(self, runner):
        self._note('after_train')


def train(cfg):
    """Train, watched; returns the runner and the watch."""
    runner, watch = runner_of(cfg), Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch


def record_of(folder):
    return json.loads((folder / 'layerwise.json').read_text())
