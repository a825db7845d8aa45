import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, METRICS, DefaultScope
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader

pytest.importorskip('mmdet')

from mmlayerwise.datasets import DigitScenes, DigitScenesPanoptic
from mmlayerwise.datasets.digit_scene_generator import compose_digit_scene

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'instances')
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, with_seg=True),
    dict(type='PackDetInputs', meta_keys=META_KEYS),
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def dataset():
    return DigitScenes(num_scenes=12, split='test', pipeline=PIPELINE, test_mode=True)


def test_it_is_built_from_a_config():
    dataset = DATASETS.build(dict(type='mmlayerwise.DigitScenes', num_scenes=3, seed=4))
    assert len(dataset) == 3
    assert dataset.settings.seed == 4
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 10


def test_stock_transforms_load_image_boxes_masks_and_semantic_map(dataset):
    item = dataset[3]
    scene = compose_digit_scene(dataset.settings, 3)
    sample = item['data_samples']
    assert torch.equal(item['inputs'], torch.from_numpy(scene.image.copy()).permute(2, 0, 1))
    assert sample.gt_instances.bboxes.tensor.tolist() == scene.boxes.tolist()
    assert sample.gt_instances.labels.tolist() == scene.labels.tolist()
    assert (sample.gt_instances.masks.to_ndarray() == scene.masks).all()
    assert (sample.gt_sem_seg.sem_seg[0].numpy() == scene.semantic_map).all()
    assert sample.img_id == 3


def test_indices_choose_scenes():
    dataset = DigitScenes(num_scenes=12, indices=[7, 2], pipeline=PIPELINE)
    assert [item['data_samples'].img_id for item in dataset] == [7, 2]


def test_category_ids_are_the_labels(dataset):
    assert dataset.get_cat_ids(3) == compose_digit_scene(dataset.settings, 3).labels.tolist()


@pytest.mark.parametrize(('method', 'num_workers'), [('fork', 2), ('spawn', 1)])
def test_workers_give_the_scenes_of_one_process(dataset, method, num_workers):
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=num_workers,
        multiprocessing_context=method,
        collate_fn=pseudo_collate,
    )
    images = [image for batch in loader for image in batch['inputs']]
    assert len(images) == len(dataset)
    for index, image in enumerate(images):
        assert torch.equal(image, dataset[index]['inputs'])


def _perfect_prediction(sample):
    truth = sample.gt_instances
    sample.pred_instances = InstanceData(
        bboxes=truth.bboxes.tensor,
        scores=torch.ones(len(truth)),
        labels=truth.labels,
        masks=torch.from_numpy(truth.masks.to_ndarray()).bool(),
    )
    return sample


def _coco_metrics(dataset, samples):
    metric = METRICS.build(dict(type='CocoMetric', metric=['bbox', 'segm']))
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [sample.to_dict() for sample in samples])
    return metric.evaluate(len(samples))


def test_cocos_metric_takes_the_truth_from_memory(dataset):
    perfect = _coco_metrics(
        dataset, [_perfect_prediction(item['data_samples']) for item in dataset]
    )
    assert perfect['coco/bbox_mAP'] == pytest.approx(1)
    assert perfect['coco/segm_mAP'] == pytest.approx(1)


def test_cocos_metric_sees_boxes_that_are_off(dataset):
    samples = [_perfect_prediction(item['data_samples']) for item in dataset]
    for sample in samples:
        sample.pred_instances.bboxes = sample.pred_instances.bboxes + 40
        sample.pred_instances.masks = sample.pred_instances.masks.roll(40, dims=-1)
    wrong = _coco_metrics(dataset, samples)
    assert wrong['coco/bbox_mAP'] < 0.2
    assert wrong['coco/segm_mAP'] < 0.2


def test_panoptic_scenes_describe_their_segments():
    dataset = DigitScenesPanoptic(num_scenes=4)
    info = dataset.get_data_info(1)
    scene = compose_digit_scene(dataset.settings, 1)
    assert info['segments_info'] == scene.segments
    assert 'panoptic_maps' in info['seg_map_path']
    meta = dataset.metainfo
    assert meta['classes'] == meta['thing_classes'] + meta['stuff_classes']
    assert len(meta['palette']) == 13
