import json

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

pytest.importorskip('mmdet')

from mmlayerwise.datasets.digit_scene_generator import compose_digit_scene
from mmlayerwise.datasets.transforms.load_panoptic_annotations import rgb_to_ids

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='mmlayerwise.LoadPanopticAnnotations'),
    dict(type='PackDetInputs'),
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def test_colours_become_ids():
    rgb = np.array([[[0, 0, 0], [7, 0, 0], [1, 2, 3], [255, 255, 255]]], dtype=np.uint8)
    assert rgb_to_ids(rgb).tolist() == [[0, 7, 1 + 2 * 256 + 3 * 65536, 2**24 - 1]]


def test_it_loads_boxes_masks_and_the_semantic_map():
    dataset = DATASETS.build(
        dict(type='mmlayerwise.DigitScenesPanoptic', num_scenes=3, pipeline=PIPELINE)
    )
    for index in range(3):
        sample = dataset[index]['data_samples']
        scene = compose_digit_scene(dataset.settings, index)
        assert sample.gt_instances.bboxes.tensor.tolist() == scene.boxes.tolist()
        assert (sample.gt_instances.masks.to_ndarray() == scene.masks).all()
        assert (sample.gt_sem_seg.sem_seg[0].numpy() == scene.semantic_map).all()


def test_it_loads_coco(data_root):
    annotations = data_root / 'coco_mini' / 'annotations'
    dataset = DATASETS.build(
        dict(
            type='CocoPanopticDataset',
            data_root=str(data_root / 'coco_mini'),
            ann_file='annotations/panoptic_val2017.json',
            data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
            pipeline=PIPELINE,
        )
    )
    truth = json.loads((annotations / 'panoptic_val2017.json').read_text())
    areas = {
        annotation['image_id']: sorted(s['area'] for s in annotation['segments_info'])
        for annotation in truth['annotations']
    }
    sample = dataset[0]['data_samples']
    sem_seg = sample.gt_sem_seg.sem_seg.numpy()
    assert (sem_seg != 255).sum() == sum(areas[sample.img_id])
    mask_areas = sample.gt_instances.masks.to_ndarray().sum(axis=(1, 2)).tolist()
    assert mask_areas
    assert set(mask_areas) <= set(areas[sample.img_id])
