import json
import os
import random
import re
import socket

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch import multiprocessing as mp

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.separation import SeparationError
from tests.test_engine.test_hooks.runs import QUICKSTART, log_of, runner_of, tiny_config

KINDS = dict(classification='image', detection='box', segmentation='pixel')


def config(task, work_dir, hook=None, train=60, **options):
    """A tiny run with the hook; ``train`` images for a classifier."""
    cfg = tiny_config(task, work_dir, **options)
    arguments = dict(num_samples=40, epochs=2, **(hook or {}))
    cfg.custom_hooks = [dict(type='mmlayerwise.QLSInitHook', **arguments)]
    if task == 'classification':
        cfg.train_dataloader.dataset.indices = train
    if task == 'segmentation':
        cfg.model = Config.fromfile(QUICKSTART / 'segmentation.py').model
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def prepared(cfg):
    """A runner as it is when the hooks' ``before_train`` is called."""
    runner = runner_of(cfg)
    assert runner.train_loop.iter == 0  # builds the loop
    runner._init_model_weights()
    runner.load_or_resume()
    return runner


def hook_of(runner):
    """The hook under test."""
    return next(one for one in runner.hooks if type(one).__name__ == 'QLSInitHook')


def learn(cfg):
    """Run only what the hook does before training; returns the runner."""
    runner = prepared(cfg)
    hook_of(runner).before_train(runner)
    return runner


@pytest.mark.parametrize('task', KINDS)
def test_the_first_layer_of_any_task_is_learned_before_training(task, tmp_path):
    cfg = config(task, tmp_path)
    runner = runner_of(cfg)
    runner.train()
    entry = json.loads((tmp_path / 'qls.json').read_text())
    modules = runner.model.named_modules()
    assert entry['layer'] == next(n for n, m in modules if isinstance(m, torch.nn.Conv2d))
    assert entry['samples'] == KINDS[task]
    assert 2 <= entry['num_samples'] <= 40
    indices = [one['separation_index'] for one in entry['history']]
    assert indices[entry['best_epoch']] == max(indices)
    assert (tmp_path / 'qls_filters.png').read_bytes()[:4] == b'\x89PNG'
    log = log_of(tmp_path)
    assert re.search(r'QLS epoch 0: J \S+, margin \S+, separation index \S+ \(eigenv', log)
    assert str(tmp_path / 'qls_filters.png') in log
    assert log.index('QLS epoch 0') < log.index('Checkpoints will be saved')


def test_only_the_chosen_layer_changes_and_nothing_of_the_run_is_disturbed(tmp_path):
    cfg = config('classification', tmp_path)
    runner = prepared(cfg)
    model, hook = runner.model, hook_of(runner)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    dataset = runner.train_dataloader.dataset
    steps = list(dataset.pipeline.transforms)
    model.train()
    hook.before_train(runner)
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    assert runner.train_dataloader.dataset is dataset
    assert dataset.pipeline.transforms == steps
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {'backbone.conv1.weight'}


def test_two_runs_learn_the_same_whatever_happened_before(tmp_path):
    weights = []
    for number in range(2):
        cfg = config('classification', tmp_path / str(number))
        torch.manual_seed(number)
        runner = learn(cfg)
        weights.append(runner.model.backbone.conv1.weight.detach())
    # The common factor brings the filters to the size of the (different) initial ones.
    first, second = (weight / weight.norm() for weight in weights)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize('freeze', [False, True])
def test_the_layer_is_trained_with_the_rest_or_frozen(freeze, tmp_path):
    cfg = config('classification', tmp_path, dict(freeze=freeze))
    runner = runner_of(cfg)
    learned = []

    class Keep(Hook):
        priority = 'LOWEST'

        def before_train(self, runner):
            learned.append(runner.model.backbone.conv1.weight.detach().clone())

    runner.register_hook(Keep())
    runner.train()
    weight = runner.model.backbone.conv1.weight
    assert weight.requires_grad is not freeze
    assert torch.equal(weight, learned[0]) is freeze


@pytest.mark.parametrize('freeze', [False, True])
def test_a_resumed_run_learns_nothing_anew(freeze, tmp_path):
    cfg = config('classification', tmp_path, dict(freeze=freeze))
    runner_of(cfg).train()
    record = (tmp_path / 'qls.json').read_text()
    trained = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)['state_dict']
    (tmp_path / 'qls.json').unlink()
    cfg = config('classification', tmp_path, dict(freeze=freeze))
    cfg.merge_from_dict(dict(resume=True, load_from=str(tmp_path / 'epoch_1.pth')))
    runner = runner_of(cfg)
    runner.train()
    assert not (tmp_path / 'qls.json').exists()
    assert 'resumed run keeps the layer' in log_of(tmp_path)
    assert runner.model.backbone.conv1.weight.requires_grad is not freeze
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, trained[name]), name
    assert record


def test_asking_to_resume_without_a_checkpoint_learns(tmp_path):
    cfg = config('classification', tmp_path, resume=True)
    runner_of(cfg).train()
    assert (tmp_path / 'qls.json').exists()


def test_the_ablations_are_options(tmp_path):
    cfg = config('classification', tmp_path / 'eigen', dict(step=None))
    learn(cfg)
    entry = json.loads((tmp_path / 'eigen' / 'qls.json').read_text())
    assert [one['epoch'] for one in entry['history']] == [0]
    runner = learn(config('classification', tmp_path / 'pca', dict(step=None, negatives=False)))
    theta = runner.model.backbone.conv1.weight.detach().flatten(1)
    cosines = torch.nn.functional.normalize(theta) @ torch.nn.functional.normalize(theta).T
    assert cosines.min() > -0.99


def test_boxes_of_repeated_data_are_taken_once(tmp_path):
    cfg = config('detection', tmp_path)
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=3, dataset=cfg.train_dataloader.dataset
    )
    learn(cfg)
    again = config('detection', tmp_path / 'plain')
    learn(again)
    entries = [
        json.loads((folder / 'qls.json').read_text()) for folder in (tmp_path, tmp_path / 'plain')
    ]
    assert entries[0]['num_samples'] == entries[1]['num_samples']


@pytest.mark.parametrize(
    ('hook', 'error', 'message'),
    [
        (dict(layer='backbone.layer1.0.conv1'), ForwardLearningError, r'input: backbone.conv1\.'),
        (dict(layer='backbone.conv'), ForwardLearningError, r'Close names: .*backbone.conv1'),
        (dict(num_samples=12), ForwardLearningError, 'too few for 10 classes'),
        (dict(samples='Boxes'), SeparationError, "'Boxes'"),
        (dict(samples=dict(type='BoxSamples')), SeparationError, 'need ground-truth boxes'),
        (dict(num_samples=0), ForwardLearningError, 'num_samples must be a positive'),
        (dict(crop_size=-3), ForwardLearningError, 'crop_size must be a positive'),
        (dict(crop_size=99), ForwardLearningError, 'crop_size 99 exceeds'),
        (dict(step='newton'), ForwardLearningError, "got 'newton'"),
    ],
)
def test_wrong_options_are_refused_before_training(hook, error, message, tmp_path):
    cfg = config('classification', tmp_path)
    cfg.custom_hooks[0].update(hook)
    with pytest.raises(error, match=message):
        runner_of(cfg).train()
    assert not list(tmp_path.glob('*.pth'))


def test_one_class_is_refused(tmp_path):
    cfg = config('classification', tmp_path)
    runner = prepared(cfg)
    dataset = runner.train_dataloader.dataset
    ones = [i for i in range(len(dataset)) if dataset.get_data_info(i)['gt_label'] == 1]
    runner.train_dataloader.__dict__['dataset'] = dataset.get_subset(ones)
    hook = hook_of(runner)
    with pytest.raises(ForwardLearningError, match='have the label 1'):
        hook.before_train(runner)


def _train(rank, world, port, folder):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
    )  # fmt: skip
    import mmlayerwise  # noqa: F401
    from mmlayerwise.engine.distributed import adapt_to_cpu, init_gloo

    cfg = config('classification', folder, dict(freeze=True))
    cfg.launcher = 'pytorch'
    cfg.env_cfg.mp_cfg.mp_start_method = 'spawn'
    adapt_to_cpu(cfg)
    init_gloo(cfg)
    runner = runner_of(cfg)
    hook = hook_of(runner)
    before_train, learned = hook.before_train, []

    def keep(runner):
        before_train(runner)
        learned.append(runner.model.module.backbone.conv1.weight.detach().clone())

    hook.before_train = keep
    runner.train()
    trained = runner.model.module.state_dict()
    torch.save(dict(learned=learned[0], trained=trained), f'{folder}/{rank}.pt')


@pytest.mark.slow
def test_two_processes_share_what_the_first_one_learned(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_train, (2, port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    assert torch.equal(first['learned'], second['learned'])
    assert torch.equal(first['learned'], first['trained']['backbone.conv1.weight'])
    weights = [name for name in first['trained'] if name.endswith('weight')]
    assert all(torch.equal(first['trained'][name], second['trained'][name]) for name in weights)
    single = learn(config('classification', tmp_path / 'one'))
    alone = single.model.backbone.conv1.weight.detach()
    cosine = torch.cosine_similarity(alone.flatten(), first['learned'].flatten(), dim=0)
    assert cosine == pytest.approx(1)
