import numpy as np
import pytest
import torch
from mmengine.registry import METRICS, DefaultScope
from mmengine.structures import PixelData

pytest.importorskip('mmdet')

from mmlayerwise.datasets import DigitScenesPanoptic
from mmlayerwise.datasets.digit_scene_generator import compose_digit_scene
from mmlayerwise.evaluation.metrics.panoptic_quality import count_matches
from mmlayerwise.utils.errors import UserError

IS_THING = np.array([True, True, False])
NUM_CLASSES = len(IS_THING)


def _segment(segment_id, category, is_thing=True):
    return dict(id=segment_id, category=category, is_thing=is_thing)


def _by_definition(true_ids, segments, ids):
    """Equation 1 of the paper with panopticapi's rules for void and crowds, pixel set by set."""
    counts = np.zeros((NUM_CLASSES, 4))
    void = ~np.isin(true_ids, [segment['id'] for segment in segments])
    matched_truth, matched = set(), set()
    predicted = [i for i in np.unique(ids) if i != 0]
    for segment in segments:
        if IS_THING[segment['category']] and not segment['is_thing']:
            continue
        for i in predicted:
            if (i - 1) % 1000 != segment['category']:
                continue
            a, b = true_ids == segment['id'], ids == i
            iou = (a & b).sum() / ((a | b) & ~(b & void)).sum()
            if iou > 0.5:
                counts[segment['category'], :2] += iou, 1
                matched_truth.add(segment['id'])
                matched.add(i)
    for segment in segments:
        crowd = IS_THING[segment['category']] and not segment['is_thing']
        if not crowd and segment['id'] not in matched_truth:
            counts[segment['category'], 3] += 1
    for i in predicted:
        category = (i - 1) % 1000
        excuse = void.copy()
        for segment in segments:
            if IS_THING[category] and not segment['is_thing'] and segment['category'] == category:
                excuse |= true_ids == segment['id']
        if i not in matched and (excuse & (ids == i)).sum() <= 0.5 * (ids == i).sum():
            counts[category, 2] += 1
    return counts


def test_a_case_worked_by_hand():
    true_ids = np.array([[1, 1, 1, 1, 2, 2, 3, 3]])
    segments = [_segment(1, 0), _segment(2, 1), _segment(3, 2, is_thing=False)]
    # Three of four pixels of the first, the second taken for the first class, the third whole.
    ids = np.array([[0, 0, 0, 1000, 2000, 2000, 2, 2]]) + 1
    ids[0, :3] = 1
    counts = count_matches(true_ids, segments, ids, IS_THING)
    assert counts[0].tolist() == [0.75, 1, 2, 0]
    assert counts[1].tolist() == [0, 0, 0, 1]
    assert counts[2].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize('seed', range(20))
def test_counts_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 6, (4, 4))
    true_ids = coarse.repeat(6, axis=0).repeat(6, axis=1)
    category = {1: 0, 2: 0, 3: 1, 4: 2, 5: 0}
    # The fifth is a crowd of the first class; 0 is void.
    segments = [
        _segment(i, category[i], is_thing=category[i] != 2 and i != 5)
        for i in np.unique(true_ids)
        if i != 0
    ]
    truth_as_prediction = np.array([0, 1, 1001, 2, 3, 2001])
    ids = truth_as_prediction[true_ids]
    wrong = rng.random(ids.shape) < rng.uniform(0, 0.5)
    ids[wrong] = rng.choice([0, 1, 1001, 2, 3, 2001], wrong.sum())
    counts = count_matches(true_ids, segments, ids, IS_THING)
    assert counts == pytest.approx(_by_definition(true_ids, segments, ids))


@pytest.fixture
def dataset():
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='mmlayerwise.LoadPanopticAnnotations'),
        dict(type='PackDetInputs', meta_keys=('img_id', 'seg_map_path', 'segments_info')),
    ]
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield DigitScenesPanoptic(num_scenes=6, pipeline=pipeline)


def _prediction(dataset, index):
    """The truth in the form of mmdet's panoptic heads."""
    scene = compose_digit_scene(dataset.settings, index)
    instance = scene.instance_map.astype(np.int64)
    return torch.from_numpy(scene.semantic_map + 1000 * instance)[None]


def _evaluate(dataset, predictions, **arguments):
    metric = METRICS.build(dict(type='mmlayerwise.PanopticQuality', **arguments))
    metric.dataset_meta = dataset.metainfo
    for index, ids in enumerate(predictions):
        sample = dataset[index]['data_samples']
        sample.pred_panoptic_seg = PixelData(sem_seg=ids)
        metric.process({}, [sample.to_dict()])
    return metric.evaluate(len(predictions))


def test_the_truth_scores_100(dataset):
    metrics = _evaluate(dataset, [_prediction(dataset, k) for k in range(6)], classwise=True)
    assert metrics == {
        f'panoptic/{name}{suffix}': 100
        for name in ('PQ', 'SQ', 'RQ')
        for suffix in ('', '_th', '_st')
    }


def test_void_predictions_are_misses(dataset):
    void = [torch.full((1, 160, 160), 13) for _ in range(6)]
    assert _evaluate(dataset, void)['panoptic/PQ'] == 0


def test_merged_instances_lower_things_alone(dataset):
    merged = [_prediction(dataset, k) % 1000 for k in range(6)]
    metrics = _evaluate(dataset, merged)
    assert metrics['panoptic/PQ_st'] == 100
    assert metrics['panoptic/PQ_th'] < 100


def test_missing_truth_is_named(dataset):
    metric = METRICS.build(dict(type='mmlayerwise.PanopticQuality'))
    metric.dataset_meta = dataset.metainfo
    with pytest.raises(UserError, match='segments_info in the data samples; add them to the meta'):
        metric.process({}, [dict(pred_panoptic_seg=dict(sem_seg=_prediction(dataset, 0)))])


def test_maps_of_another_size_are_named(dataset):
    with pytest.raises(UserError, match=r'\(160, 160\) pixels, but the prediction \(80, 160\)'):
        _evaluate(dataset, [_prediction(dataset, 0)[:, :80]])
