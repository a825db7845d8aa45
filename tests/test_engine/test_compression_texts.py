"""Compression of a classifier of texts: the same command, the same files."""

import csv
import random
from pathlib import Path

import pytest

from mmlayerwise.compression.head_search import HeadSearch
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.engine.compression import CompressionOptions, compress
from mmlayerwise.engine.launch import build_runner
from tests.test_engine.compression_runs import load

CONFIG = """
_base_ = '{root}/configs/_base_/default_runtime.py'

pipeline = [dict(type='QuantizeCharacters', length=48), dict(type='PackTextInputs')]
loader = dict(batch_size=20, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='TextDataPreprocessor'),
    backbone=dict(type='VDCNN', depth=9, base_channels=8, pooling='max'),
    neck=dict(type='KMaxPooling', k=2),
    head=dict(type='StackedLinearClsHead', num_classes=4, in_channels=128, mid_channels=(16,)),
)
train_dataloader = dict(
    **loader, dataset=dict(type='AGNews', data_root='{data}', split='train', pipeline=pipeline)
)
val_dataloader = dict(
    **loader, dataset=dict(type='AGNews', data_root='{data}', split='test', pipeline=pipeline)
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.005))
"""


def write_texts(path: Path, count: int, seed: int) -> None:
    """Texts of four classes, each in letters of its own, in the files' format."""
    generator = random.Random(seed)
    alphabets = ('abcdefg', 'hijklmn', 'opqrstu', 'vwxyz12')
    with path.open('w', newline='') as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)
        for number in range(count):
            letters = ''.join(generator.choices(alphabets[number % 4], k=40))
            rows.writerow([number % 4 + 1, letters[:10], letters[10:]])


@pytest.fixture(scope='module')
def compressed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('texts')
    write_texts(folder / 'train.csv', 200, seed=0)
    write_texts(folder / 'test.csv', 60, seed=1)
    path = folder / 'texts.py'
    path.write_text(CONFIG.format(root=Path(__file__).parents[2], data=folder))
    cfg = load(path, folder / 'work')
    build_runner(cfg).train()
    cfg = load(path, folder / 'work')
    checkpoint = str(folder / 'work' / 'epoch_8.pth')
    head = HeadSearch(widths=(0, 64), epochs=100, learning_rate=0.005)
    options = CompressionOptions(max_samples=200, head_samples=200, head=head)
    small = folder / 'small'
    return small, compress(cfg, str(path), checkpoint, small, PlannerSettings(), options)


def test_layers_go_and_the_texts_are_still_told_apart(compressed):
    _, found = compressed
    plan = found.result.planned.plan
    assert plan.savings.kept('flops') < 0.7
    assert found.before['accuracy/top1'] > 80
    assert found.after['accuracy/top1'] > 0.8 * found.before['accuracy/top1']


def test_the_new_fully_connected_part_reads_the_maps_that_were_measured(compressed):
    _, found = compressed
    plan, model = found.result.planned.plan, found.result.model
    assert plan.head['pool'] is None
    assert not hasattr(model, 'neck')
    first = next(layer for layer in model.head.modules() if hasattr(layer, 'in_features'))
    channels = model.backbone.stages[-1][-1].conv2.out_channels
    length = 48 // 2 ** (len(model.backbone.stages) - 1)
    assert first.in_features == channels * length


def test_testing_the_files_gives_the_same_numbers(compressed, tmp_path):
    folder, found = compressed
    cfg = load(folder / 'config.py', tmp_path)
    assert build_runner(cfg, splits=('test',)).test() == found.after
