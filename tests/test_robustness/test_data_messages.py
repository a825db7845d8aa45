"""What a user sees when the data is not as the config says: one message, status 1, no traceback."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_robustness.processes import run_tool

pytest.importorskip('mmdet')

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = {base!r}
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(
        _delete_=True, type='CocoDataset', data_root={root!r}, ann_file='boxes.json',
        data_prefix=dict(img='images/'), metainfo=dict(classes=('cup', 'jug')), pipeline=pipeline))
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
custom_hooks = []
model = dict(bbox_head=dict(num_classes=2))
"""


@pytest.fixture
def coco_folder(tmp_path):
    folder = tmp_path / 'cups'
    (folder / 'images').mkdir(parents=True)
    names = ['0.png', '1.png']
    for name in names:
        cv2.imwrite(str(folder / 'images' / name), np.full((64, 64, 3), 128, np.uint8))
    content = dict(
        images=[dict(id=n, file_name=name, height=64, width=64) for n, name in enumerate(names)],
        annotations=[
            dict(id=n, image_id=n, category_id=1, bbox=[8, 8, 32, 32], area=1024, iscrowd=0)
            for n in range(len(names))
        ],
        categories=[dict(id=1, name='cup'), dict(id=2, name='jug')],
    )
    (folder / 'boxes.json').write_text(json.dumps(content))
    return folder


def break_json(folder):
    text = (folder / 'boxes.json').read_text()
    (folder / 'boxes.json').write_text(text[: len(text) // 2])


def break_image(folder):
    (folder / 'images' / '1.png').write_bytes(b'no image')


def rename_folder(folder):
    folder.rename(folder.with_name('mugs'))


@pytest.mark.parametrize(
    ('mistake', 'options', 'messages'),
    [
        (break_json, [], ['boxes.json', 'is not JSON', 'download it again']),
        (break_image, [], ['1.png', 'cannot be decoded', 'Replace the file']),
        (rename_folder, [], ['there is no folder', 'cups', 'set data_root']),
        (
            lambda folder: None,
            ['model.bbox_head.num_classes=3'],
            ['model.bbox_head.num_classes is 3', '2 classes (cup, jug)', 'num_classes=2'],
        ),
    ],
    ids=['truncated-json', 'undecodable-image', 'missing-root', 'wrong-num-classes'],
)
def test_a_mistake_in_the_data_gives_one_message(coco_folder, mistake, options, messages):
    config = coco_folder.with_name('cups.py')
    base = str(ROOT / 'configs' / 'quickstart' / 'detection.py')
    config.write_text(CONFIG.format(base=base, root=str(coco_folder)))
    mistake(coco_folder)
    finished = run_tool(
        'train.py',
        str(config),
        *('--work-dir', str(config.with_name('work'))),
        *(['--cfg-options', *options] if options else []),
    )
    assert finished.status == 1, finished.output
    assert 'Traceback' not in finished.output, finished.output
    for message in messages:
        assert message in finished.output
