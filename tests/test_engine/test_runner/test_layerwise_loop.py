import json
import os
import socket
from collections import Counter

import pytest
import torch
from mmengine.hooks import Hook
from torch import multiprocessing as mp

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.utils.errors import UserError
from tests.test_engine.test_hooks.runs import log_of, runner_of, tiny_config


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
        self.weights, self.ends = {}, {}

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

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.counts.clear()
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
    folder, runner, _ = two_layers
    checkpoint = torch.load(folder / f'epoch_{runner.epoch}.pth', weights_only=False)
    assert checkpoint['ema_state_dict']['steps'] == runner.iter
    for value in checkpoint['state_dict'].values():
        assert torch.isfinite(value.float()).all()


def test_the_best_weights_are_restored(tmp_path, monkeypatch):
    from mmlayerwise.engine.runner import layerwise_loop

    values = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr(layerwise_loop, 'layer_separation_index', lambda *_, **__: next(values))
    cfg = config(tmp_path, stop=dict(type='SeparationStopRule', patience=3))
    _, watch = train(cfg)
    best, restored = watch.weights[1], watch.weights[4]
    later = watch.weights[3]
    assert [row['layer'] for row in watch.rows[:8]] == [1] * 8
    assert all(torch.equal(best[name], restored[name]) for name in best)
    assert not torch.equal(best['backbone.conv1.weight'], later['backbone.conv1.weight'])
    assert not torch.equal(best['backbone.bn1.running_mean'], later['backbone.bn1.running_mean'])


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


def test_batches_without_a_pair_end_the_training_with_a_message(tmp_path):
    cfg = config(tmp_path, batch_size=None)
    cfg.train_dataloader.batch_size = 1
    with pytest.raises(ForwardLearningError, match='In 40 batches no sample had both'):
        train(cfg)
    cfg = config(tmp_path, batch_size=None, miner=dict(type='NearestTripletMiner', memory_size=30))
    cfg.train_dataloader.batch_size = 1
    cfg.model.backbone.norm_cfg = dict(type='GN', num_groups=2)
    train(cfg)


YOLOX = dict(
    type='YOLOX',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
    neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1),
    bbox_head=dict(type='YOLOXHead', num_classes=10, in_channels=32, feat_channels=32),
    train_cfg=dict(assigner=dict(type='SimOTAAssigner')),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
)
HEAD = dict(
    type='FCNHead', in_channels=4, in_index=-1, channels=4, num_convs=1, num_classes=13,
    concat_input=False, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'),
)  # fmt: skip
SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
UNET = dict(
    SEGMENTOR,
    backbone=dict(
        type='UNet', base_channels=4, num_stages=3, strides=(1, 1, 1), enc_num_convs=(1, 1, 1),
        dec_num_convs=(1, 1), downsamples=(True, True), enc_dilations=(1, 1, 1),
        dec_dilations=(1, 1), norm_cfg=dict(type='BN'),
    ),
    decode_head=HEAD,
)  # fmt: skip
DEEPLABV3PLUS = dict(
    SEGMENTOR,
    backbone=dict(
        type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'),
        strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True,
    ),
    decode_head=dict(
        HEAD, type='DepthwiseSeparableASPPHead', in_channels=64, in_index=3, dilations=(1, 2),
        c1_in_channels=8, c1_channels=4,
    ),
)  # fmt: skip
del DEEPLABV3PLUS['decode_head']['num_convs'], DEEPLABV3PLUS['decode_head']['concat_input']
# A layer of the backbone, and the deepest that is shown: reached through neck, decoder or head.
MODELS_OF_TASKS = dict(
    RetinaNet=('detection', None, ['backbone.conv1', 'bbox_head.cls_convs.0.conv']),
    YOLOX=('detection', YOLOX, ['backbone.stem', 'bbox_head.multi_level_cls_convs.0.0.conv']),
    UNet=(
        'segmentation', UNET,
        ['backbone.encoder.0.0.convs.0.conv', 'backbone.decoder.0.conv_block.convs.0.conv'],
    ),
    DeepLabV3Plus=(
        'segmentation', DEEPLABV3PLUS,
        ['backbone.layer1.0', 'decode_head.sep_bottleneck.0.pointwise_conv.conv'],
    ),
)  # fmt: skip


@pytest.mark.parametrize('name', MODELS_OF_TASKS)
def test_detectors_and_segmentors_learn_from_boxes_and_pixels(name, tmp_path):
    task, model, layers = MODELS_OF_TASKS[name]
    stop = dict(type='mmlayerwise.SeparationStopRule', max_epochs=1)
    cfg = config(tmp_path, 'all', task, layers=layers, num_samples=60, stop=stop, freeze=False)
    cfg.train_dataloader.dataset.update(image_size=(64, 64), digit_size=(16, 40))
    if model is not None:
        cfg.model = model
    cfg.optim_wrapper.optimizer.lr = 1e-3
    runner, watch = train(cfg)
    assert [row.get('layer') for row in watch.rows] == [1, 1, 2, 2, None, None]
    assert all(float(row['loss']) > 0 for row in watch.rows)
    found = runner.train_loop.layers
    assert [layer.name.partition('#')[0] for layer in found] == layers
    for number, layer in enumerate(found):
        start, end = watch.weights[number], watch.ends[number]
        changed = {key for key in start if not torch.equal(start[key], end[key])}
        assert layer.parameters <= changed


def _train(rank, world, port, folder):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
    )  # fmt: skip
    import mmlayerwise  # noqa: F401
    from mmlayerwise.engine.distributed import adapt_to_cpu, init_gloo

    cfg = config(f'{folder}/work', 2, images=80, freeze=True)
    cfg.launcher = 'pytorch'
    cfg.env_cfg.mp_cfg.mp_start_method = 'spawn'
    adapt_to_cpu(cfg)
    init_gloo(cfg)
    runner = runner_of(cfg)
    watch = Watch()
    watch.before_train = lambda runner: None
    watch.before_train_iter = lambda *_, **__: None
    watch.after_train_iter = lambda runner, batch_idx, data_batch=None, outputs=None: (
        watch.rows.append(float(outputs['loss']) if 'layer' in outputs else None)
    )
    runner.register_hook(watch)
    runner.train()
    model = runner.model.module
    torch.save(
        dict(
            record=[
                [epoch['separation_index'] for epoch in layer['epochs']]
                for layer in runner.train_loop.record.layers
            ],
            losses=watch.rows,
            weights=dict(model.named_parameters()),
            first=watch.weights[0],
            last=watch.weights[max(watch.weights)],
            trained=model.state_dict(),
            epoch=runner.epoch,
        ),
        f'{folder}/{rank}.pt',
    )


@pytest.mark.slow
def test_two_processes_learn_one_model(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_train, (2, port, str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f'{rank}.pt', weights_only=False) for rank in range(2))
    assert one['record'] == two['record']  # so both stop alike
    assert one['epoch'] == two['epoch']
    assert one['losses'] == two['losses']  # their mean, weighted by the triplets
    for name, value in one['weights'].items():
        assert torch.equal(value, two['weights'][name]), name
    # Frozen layers, with their running statistics, are the same and stay as learned.
    for name, value in one['last'].items():
        if 'conv1' in name.split('.')[2] or 'layer1.0' in name:
            assert torch.equal(value, two['last'][name]), name
            key = name.removeprefix('module.')
            assert torch.equal(value, one['trained'][key]), name
    changed = {n for n, v in one['first'].items() if not torch.equal(v, one['last'][n])}
    assert not any('layer2' in name or 'head' in name for name in changed)
