import numpy as np
import pytest
import torch
from mmengine.registry import METRICS, DefaultScope
from mmengine.structures import PixelData

pytest.importorskip('mmseg')

from mmlayerwise.datasets import DigitScenesSegmentation
from mmlayerwise.datasets.digit_scene_generator import compose_digit_scene

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def test_stock_transforms_load_the_map_of_the_same_scene():
    dataset = DigitScenesSegmentation(num_scenes=5, pipeline=PIPELINE)
    item = dataset[4]
    scene = compose_digit_scene(dataset.settings, 4)
    assert torch.equal(item['inputs'], torch.from_numpy(scene.image.copy()).permute(2, 0, 1))
    assert np.array_equal(item['data_samples'].gt_sem_seg.data[0].numpy(), scene.semantic_map)


def test_classes_left_out_are_ignored():
    dataset = DigitScenesSegmentation(
        num_scenes=1, pipeline=PIPELINE, metainfo=dict(classes=('clouds', 'stripes', 'grain'))
    )
    labels = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    scene = compose_digit_scene(dataset.settings, 0)
    expected = np.where(scene.instance_map > 0, 255, scene.texture_map)
    assert np.array_equal(labels, expected)


def test_the_stock_metric_scores_a_perfect_map_with_100():
    dataset = DigitScenesSegmentation(num_scenes=30, pipeline=PIPELINE, test_mode=True)
    metric = METRICS.build(dict(type='IoUMetric', iou_metrics=['mIoU']))
    metric.dataset_meta = dataset.metainfo
    for item in dataset:
        sample = item['data_samples']
        sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data.clone())
        metric.process({}, [sample.to_dict()])
    assert metric.evaluate(len(dataset))['mIoU'] == 100
