import numpy as np
import pytest

from mmlayerwise.datasets import digit_scene_generator
from mmlayerwise.datasets.digit_scene_generator import (
    MIN_VISIBLE_FRACTION,
    DigitScene,
    DigitSceneSettings,
    compose_digit_scene,
)
from mmlayerwise.utils.errors import UserError

SETTINGS = DigitSceneSettings()


@pytest.fixture(scope='module')
def scenes():
    return [compose_digit_scene(SETTINGS, index) for index in range(60)]


def test_a_scene_depends_on_settings_and_index_alone():
    np.random.seed(1)
    first = compose_digit_scene(SETTINGS, 5)
    compose_digit_scene.cache_clear()
    np.random.seed(2)
    compose_digit_scene(SETTINGS, 4)
    second = compose_digit_scene(SETTINGS, 5)
    assert first is not second
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.instance_map, second.instance_map)
    assert np.array_equal(first.labels, second.labels)


@pytest.mark.parametrize(
    'other', [DigitSceneSettings(seed=1), DigitSceneSettings(split='test')], ids=['seed', 'split']
)
def test_other_seeds_and_splits_give_other_scenes(other):
    assert not np.array_equal(
        compose_digit_scene(SETTINGS, 0).image, compose_digit_scene(other, 0).image
    )


def test_composing_leaves_the_global_random_state_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    compose_digit_scene(SETTINGS, 12345)
    assert np.array_equal(np.random.get_state()[1], before)


def test_boxes_are_tight_around_the_visible_pixels(scenes):
    for scene in scenes:
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            rows, columns = np.nonzero(mask)
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == expected


def test_maps_agree_with_the_masks(scenes):
    for scene in scenes:
        union = scene.masks.any(axis=0)
        assert (scene.masks.sum(axis=0) <= 1).all()
        for label, mask in zip(scene.labels, scene.masks, strict=True):
            assert (scene.semantic_map[mask] == label).all()
        assert (scene.semantic_map[~union] == 10 + scene.texture_map[~union]).all()


def test_segments_name_every_id_of_the_panoptic_map_once(scenes):
    for scene in scenes:
        segments = scene.segments
        ids = [segment['id'] for segment in segments]
        assert sorted(ids) == np.unique(scene.panoptic_map).tolist()
        things = [segment for segment in segments if segment['is_thing']]
        assert [segment['category'] for segment in things] == scene.labels.tolist()
        for segment in segments:
            pixels = scene.semantic_map[scene.panoptic_map == segment['id']]
            assert (pixels == segment['category']).all()
        for segment, mask in zip(things, scene.masks, strict=True):
            assert np.array_equal(scene.panoptic_map == segment['id'], mask)


def test_scenes_are_varied_and_digits_overlap(scenes):
    counts = np.array([len(scene.labels) for scene in scenes])
    assert counts.min() >= 1
    assert counts.max() == 6
    heights = np.concatenate([scene.boxes[:, 3] - scene.boxes[:, 1] for scene in scenes])
    assert heights.min() < 28
    assert heights.max() > 60
    assert len(np.unique(np.concatenate([scene.labels for scene in scenes]))) == 10
    touching = [_num_touching_boxes(scene.boxes) for scene in scenes]
    assert 0.2 < np.mean(np.array(touching) > 0) < 0.95
    assert len({int(np.unique(scene.texture_map)[0]) for scene in scenes}) == 3


def _num_touching_boxes(boxes):
    upper = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    lower = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    return ((upper > lower).all(axis=-1).sum() - len(boxes)) // 2


def test_the_ink_stands_off_from_the_background(scenes):
    contrasts = []
    for scene in scenes:
        image = scene.image.astype(np.float64)
        for box, mask in zip(scene.boxes.astype(int), scene.masks, strict=True):
            x1, y1, x2, y2 = box
            around = scene.instance_map[y1:y2, x1:x2] == 0
            difference = image[mask].mean(axis=0) - image[y1:y2, x1:x2][around].mean(axis=0)
            contrasts.append(np.abs(difference).max())
    assert np.percentile(contrasts, 2) > 25
    assert np.std(contrasts) > 15


def test_no_digit_is_hidden_beyond_the_limit(monkeypatch):
    crowded = DigitSceneSettings(image_size=(64, 64), num_digits=(12, 12), digit_size=(24, 40))
    whole_areas = []
    find_place = digit_scene_generator._find_place

    def recording(rng, mask, *others):
        found = find_place(rng, mask, *others)
        if found is not None:
            whole_areas.append(mask.sum())
        return found

    monkeypatch.setattr(digit_scene_generator, '_find_place', recording)
    lowest, rejected = 1.0, 0
    for index in range(1000, 1030):
        whole_areas.clear()
        scene = compose_digit_scene(crowded, index)
        visible = scene.masks.sum(axis=(1, 2)) / np.array(whole_areas)
        assert visible.max() <= 1
        lowest = min(lowest, visible.min())
        rejected += 12 - len(scene.labels)
    assert MIN_VISIBLE_FRACTION <= lowest < MIN_VISIBLE_FRACTION + 0.1
    assert rejected > 0


def test_scenes_need_not_be_square():
    scene = compose_digit_scene(DigitSceneSettings(image_size=(96, 200)), 0)
    assert isinstance(scene, DigitScene)
    assert scene.image.shape == (96, 200, 3)
    assert scene.masks.shape == (len(scene.labels), 96, 200)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(split='val'), "'val'"),
        (dict(num_digits=(0, 3)), 'num_digits must be'),
        (dict(num_digits=(4, 3)), 'num_digits must be'),
        (dict(digit_size=(4, 30)), 'digit_size must be'),
        (dict(image_size=(40, 40)), 'do not fit into scenes of 40 x 40'),
        (dict(image_size=(40, 40, 3)), 'image_size must be two integers'),
        (dict(seed=-1), 'seed must not be negative'),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        DigitSceneSettings(**arguments)
