import json
import os
import re
import socket

import jsonschema
import pytest
import torch
import torch.multiprocessing as mp

from mmlayerwise.engine.launch import build_runner
from mmlayerwise.separation import SeparationError
from mmlayerwise.separation.record import SeparationRecord
from tests.test_engine.test_hooks.runs import forget_earlier_runs, log_of, runner_of, tiny_config
from tests.test_separation.reference import friends
from tests.test_separation.test_record import SCHEMA

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

# Found layers of the three tiny networks.
STAGES = {
    'detection': [
        *(f'backbone[{n}]' for n in range(3)),
        *(f'neck[{n}]' for n in range(3)),
        *(f'bbox_head.{side}_convs.1.conv#{n}' for n in range(3) for side in ('cls', 'reg')),
    ],
    'segmentation': [f'{part}[{n}]' for part in ('backbone', 'neck') for n in range(4)],
    'classification': [*(f'backbone.layer{n}.1' for n in range(1, 5)), 'neck[0]'],
}
SAMPLES = {'detection': 'box', 'segmentation': 'pixel', 'classification': 'image'}


def weights(folder):
    name = 'iter_4.pth' if (folder / 'iter_4.pth').exists() else 'epoch_2.pth'
    return torch.load(folder / name, weights_only=True)['state_dict']


@pytest.mark.parametrize('task', STAGES)
def test_training_is_measured_and_not_changed(task, tmp_path):
    runner_of(tiny_config(task, tmp_path / 'without')).train()
    cfg = tiny_config(task, tmp_path / 'with', dict(initial=True))
    runner = runner_of(cfg)
    runner.train()
    before, after = weights(tmp_path / 'without'), weights(tmp_path / 'with')
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module._forward_hooks for module in runner.model.modules())

    path = tmp_path / 'with' / 'separation.json'
    schema = json.loads(SCHEMA.read_text(encoding='utf-8'))
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text()))
    record = SeparationRecord.load(path)
    iterations = [0, 2, 4] if task != 'classification' else [0, 6, 12]
    assert [one.iteration for one in record.measurements] == iterations
    for one in record.measurements:
        assert [layer.name for layer in one.profile.layers] == STAGES[task]
        assert one.profile.samples == SAMPLES[task]
        for layer in one.profile.layers:
            assert layer.error is None
            low, high = layer.interval
            assert 0 <= low <= layer.index <= high <= 1
            assert 0 < layer.chance < 1
            counts = [count for _, count in layer.per_class.values()]
            assert sum(counts) == layer.num_samples
    assert (tmp_path / 'with' / 'separation.png').read_bytes()[:4] == b'\x89PNG'

    log = log_of(tmp_path / 'with')
    checkpoint = 'iter_4.pth' if task == 'segmentation' else 'epoch_2.pth'
    paths = [line.split()[-1] for line in log.strip().splitlines()[-3:]]
    names = [checkpoint, 'separation.json', 'separation.png']
    assert paths == [str(tmp_path / 'with' / name) for name in names]
    assert re.search(r'layer +index +95 % interval', log)
    scalars = [
        json.loads(line)
        for path in (tmp_path / 'with').glob('*/vis_data/scalars.json')
        for line in path.read_text().splitlines()
    ]
    found = [line for line in scalars if f'separation/{STAGES[task][0]}' in line]
    assert [line['step'] for line in found] == ([0, 2, 4] if task == 'segmentation' else [0, 1, 2])


def test_the_index_is_that_of_the_features_of_the_validation_data(tmp_path):
    cfg = tiny_config('classification', tmp_path, dict(layers=['neck']))
    runner = runner_of(cfg)
    runner.train()
    features, labels = [], []
    runner.model.eval()
    for data in runner.val_dataloader:
        data = runner.model.data_preprocessor(data, False)
        with torch.no_grad():
            output = runner.model.neck(runner.model.backbone(data['inputs']))
        features.append(output[-1].flatten(1))
        labels += [int(sample.gt_label) for sample in data['data_samples']]
    expected = friends(torch.cat(features), labels)[:, 0].mean()
    layer = SeparationRecord.load(tmp_path / 'separation.json').measurements[-1].profile.layers[0]
    assert layer.index == pytest.approx(expected)
    assert layer.num_samples == 24


def test_a_resumed_run_appends_and_repeats_what_was_cut_off(tmp_path):
    runner_of(tiny_config('classification', tmp_path, {})).train()
    path = tmp_path / 'separation.json'
    first = json.loads(path.read_text())
    cfg = tiny_config(
        'classification', tmp_path, {}, resume=True, load_from=str(tmp_path / 'epoch_1.pth')
    )
    cfg.train_cfg.max_epochs = 3
    runner_of(cfg).train()
    record = json.loads(path.read_text())
    assert [one['epoch'] for one in record['measurements']] == [1, 2, 3]
    assert record['measurements'][:2] == first['measurements']


def test_a_foreign_record_stops_a_resumed_run_with_a_message(tmp_path):
    runner_of(tiny_config('classification', tmp_path, {})).train()
    (tmp_path / 'separation.json').write_text('{}')
    cfg = tiny_config(
        'classification', tmp_path, {}, resume=True, load_from=str(tmp_path / 'epoch_1.pth')
    )
    with pytest.raises(SeparationError, match='not a separation record'):
        runner_of(cfg).train()


def test_every_second_validation_is_measured(tmp_path):
    runner_of(tiny_config('classification', tmp_path, dict(interval=2))).train()
    record = SeparationRecord.load(tmp_path / 'separation.json')
    assert [one.epoch for one in record.measurements] == [2]


def test_save_best_can_follow_a_layer(tmp_path):
    cfg = tiny_config('classification', tmp_path, {})
    cfg.default_hooks.checkpoint.update(save_best='separation/neck[0]', rule='greater')
    runner_of(cfg).train()
    assert list(tmp_path.glob('best_separation_neck*.pth'))


def test_validation_in_mixed_precision_is_measured_in_it(tmp_path):
    cfg = tiny_config('classification', tmp_path, {}, val_cfg=dict(fp16=True))
    runner_of(cfg).train()
    record = SeparationRecord.load(tmp_path / 'separation.json')
    assert all(layer.error is None for layer in record.measurements[-1].profile.layers)


def test_validation_alone_is_measured(tmp_path):
    cfg = tiny_config('classification', tmp_path, {})
    cfg.default_hooks.checkpoint = None
    runner_of(cfg).val()
    record = SeparationRecord.load(tmp_path / 'separation.json')
    assert [(one.epoch, one.iteration) for one in record.measurements] == [(0, 0)]


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (dict(layers=['backbone.layer9']), r"'backbone.layer9'. Close names: .*backbone.layer4"),
        (dict(samples=dict(type='Boxes')), r"'Boxes'"),
        (dict(samples=dict(type='BoxSamples')), r'need ground-truth boxes'),
        (dict(interval=0), r'interval must be at least 1'),
        (dict(pooling={'head.*': 2}), r"pooling: 'head\.\*' fits none of the 5 measured layers"),
        (dict(distortion=0), r'distortion must be between 0 and 1'),
    ],
)
def test_wrong_options_are_refused_before_the_first_epoch(hook, message, tmp_path):
    cfg = tiny_config('classification', tmp_path, hook)
    with pytest.raises(SeparationError, match=message):
        runner_of(cfg).train()
    assert not list(tmp_path.glob('*.pth'))


def test_a_pipeline_without_annotations_is_named(tmp_path):
    cfg = tiny_config('detection', tmp_path, {})
    pipeline = cfg.val_dataloader.dataset.pipeline
    cfg.val_dataloader.dataset.pipeline = [
        step for step in pipeline if 'LoadAnnotations' not in step.type
    ]
    with pytest.raises(SeparationError, match=r'no ground truth.*LoadAnnotations'):
        runner_of(cfg).train()


def test_training_without_validation_is_refused(tmp_path):
    cfg = tiny_config('classification', tmp_path, {})
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    with pytest.raises(SeparationError, match='measures on validation data'):
        runner_of(cfg).train()


def _validate(rank, world, port, folder):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
    )  # fmt: skip
    cfg = tiny_config('detection', f'{folder}/{world}', dict(max_samples=15))
    cfg.launcher = 'pytorch'
    cfg.default_hooks.checkpoint = None
    forget_earlier_runs()
    build_runner(cfg, splits=('val',)).val()


@pytest.mark.slow
def test_two_processes_measure_exactly_what_one_measures(tmp_path):
    for world in (1, 2):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        mp.spawn(_validate, (world, port, str(tmp_path)), nprocs=world)
    one, two = ((tmp_path / n / 'separation.json').read_text() for n in ('1', '2'))
    assert json.loads(one)['measurements'][0]['layers'][0]['num_samples'] == 15
    assert one == two
