"""An existing project: its own config, tool and data, with one import and one hook added."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ADDED = """
custom_imports = dict(imports=['mmlayerwise'])
custom_hooks = [dict(type='mmlayerwise.SeparationHook', max_samples=40)]
"""


def stock_folder(package):
    """Where a wheel of a toolbox has its configs and tools."""
    return Path(find_spec(package).submodule_search_locations[0]) / '.mim'


def train_with_stock_tool(package, config, work_dir, options):
    """Run `tools/train.py` as the installed toolbox brings it; return what it printed."""
    tool = stock_folder(package) / 'tools' / 'train.py'
    command = [sys.executable, tool, config, '--work-dir', work_dir, '--cfg-options', *options]
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        cwd=work_dir,  # not this repository: the package must be found as an installed one
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def loaders(key, value, stages=('train', 'val')):
    return [f'{stage}_dataloader.{key}={value}' for stage in stages]


def check_results(work_dir, printed):
    """The hook measured every stage and left its files; the log says where."""
    assert str(work_dir / 'separation.png') in printed
    assert (work_dir / 'separation.png').stat().st_size > 1000
    (measurement,) = json.loads((work_dir / 'separation.json').read_text())['measurements']
    return measurement


@pytest.mark.slow
def test_mmdet(data_root, tmp_path):
    coco = f'{data_root}/coco_mini/'
    config = tmp_path / 'retinanet.py'
    stock = stock_folder('mmdet') / 'configs' / 'retinanet' / 'retinanet_r18_fpn_1x_coco.py'
    config.write_text(f"_base_ = '{stock}'" + ADDED)
    printed = train_with_stock_tool(
        'mmdet',
        config,
        tmp_path,
        [
            # No download of weights, four images a side of 128 pixels, one epoch.
            'model.backbone.init_cfg=None',
            'train_cfg.max_epochs=1',
            *loaders('dataset.data_root', coco),
            *loaders('dataset.indices', 4),
            *loaders('num_workers', 0),
            *loaders('persistent_workers', False),
            f'val_evaluator.ann_file={coco}annotations/instances_val2017.json',
            'train_dataloader.dataset.pipeline.2.scale=(128,128)',
            'val_dataloader.dataset.pipeline.1.scale=(128,128)',
        ],
    )
    assert 'Saving checkpoint at 1 epochs' in printed
    layers = check_results(tmp_path, printed)['layers']
    names = [layer['name'] for layer in layers]
    assert names[:4] == [f'backbone[{stage}]' for stage in range(4)]
    assert [layer['shape'][0] for layer in layers[:4]] == [64, 128, 256, 512]
    assert all(0 <= layer['index'] <= 1 for layer in layers)


@pytest.mark.slow
def test_mmseg(data_root, tmp_path):
    config = tmp_path / 'unet.py'
    stock = stock_folder('mmseg') / 'configs' / 'unet' / 'unet-s5-d16_fcn_4xb4-40k_drive-64x64.py'
    config.write_text(f"_base_ = '{stock}'" + ADDED + DRIVE_TO_CAMVID)
    printed = train_with_stock_tool(
        'mmseg',
        config,
        tmp_path,
        [
            'train_cfg.max_iters=2',
            'train_cfg.val_interval=2',
            'model.backbone.base_channels=4',
            'model.decode_head.in_channels=4',
            'model.auxiliary_head.in_channels=8',
            *loaders('num_workers', 0),
            *loaders('persistent_workers', False),
        ],
    )
    assert 'Iter(val)' in printed
    assert check_results(tmp_path, printed)['layers']


# The data of another project; what a user of mmseg writes to train on it.
DRIVE_TO_CAMVID = """
import os

classes = ('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
           'pedestrian', 'bicyclist', 'void')
model = dict(decode_head=dict(num_classes=12), auxiliary_head=dict(num_classes=12))


def camvid(split, pipeline):
    return dict(
        _delete_=True, type='BaseSegDataset', indices=4, pipeline=pipeline, img_suffix='.jpg',
        data_root=os.environ['MMLAYERWISE_DATA_ROOT'] + '/camvid', metainfo=dict(classes=classes),
        data_prefix=dict(img_path='img_dir/' + split, seg_map_path='ann_dir/' + split))


train_dataloader = dict(batch_size=2, dataset=camvid('train', [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(64, 64)),
    dict(type='PackSegInputs'),
]))
val_dataloader = dict(dataset=camvid('val', [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 96)),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]))
del camvid, os
"""
