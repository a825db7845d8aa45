import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from mmlayerwise.engine.overfitting import (
    OverfitSettings,
    choose_images,
    cut_windows,
    prepare_overfitting,
)
from mmlayerwise.utils.errors import UserError


def box(image, width, category=1, iscrowd=0):
    return dict(image_id=image, bbox=[0, 0, width, 50], category_id=category, iscrowd=iscrowd)


ANNOTATIONS = dict(
    images=[dict(id=number, width=100, height=100) for number in range(6)],
    annotations=[
        box(0, 50),
        box(0, 1),  # too small
        box(1, 50, iscrowd=1),
        box(2, 50, category=3),
        box(4, 40),
        box(4, 30, category=2),
        *[box(5, 50) for _ in range(7)],  # too many
    ],
    categories=[dict(id=number, name=str(number)) for number in (1, 2, 3, 4)],
)


def test_images_with_few_large_objects_are_chosen_in_order():
    subset = choose_images(ANNOTATIONS, 2)
    assert [image['id'] for image in subset['images']] == [2, 4]
    assert [one['category_id'] for one in subset['annotations']] == [3, 1, 2]
    assert [one['name'] for one in subset['categories']] == ['1', '2', '3']


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match=r'only 2 images .* 3 wanted'):
        choose_images(ANNOTATIONS, 3)


def test_a_classifier_is_refused():
    with pytest.raises(UserError, match="not one of 'mmlayerwise'"):
        prepare_overfitting(
            Config(dict(default_scope='mmlayerwise', model=dict(type='X'))), OverfitSettings()
        )


def test_a_missing_data_set_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(tmp_path))
    cfg = Config(dict(default_scope='mmdet', model=dict(type='X'), work_dir=str(tmp_path)))
    with pytest.raises(UserError, match=r'coco_mini.* does not exist; set MMLAYERWISE_DATA_ROOT'):
        prepare_overfitting(cfg, OverfitSettings())


@pytest.mark.parametrize(
    ('config', 'metric', 'num_classes'),
    [
        ('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 'coco/bbox_mAP_50', 7),
        ('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py', 'mIoU', 11),
    ],
)
def test_the_model_stays_and_the_rest_serves_a_few_images(
    config, metric, num_classes, data_root, monkeypatch, tmp_path
):
    from mmlayerwise.engine.launch import find_config

    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(data_root))
    cfg = Config.fromfile(find_config(config))
    cfg.work_dir = str(tmp_path)
    before = cfg.model.backbone.depth
    settings = OverfitSettings(image_size=(64, 48), model={'backbone.base_channels': 8}, target=0.5)
    assert prepare_overfitting(cfg, settings) == metric
    assert (cfg.model.backbone.depth, cfg.model.backbone.base_channels) == (before, 8)
    assert cfg.model.get('pretrained') is None
    assert cfg.model.backbone.get('init_cfg') is None
    head = cfg.model.get('bbox_head') or cfg.model.get('decode_head')
    assert head.num_classes == num_classes
    assert cfg.train_dataloader.batch_size == settings.num_images
    scale = next(step.scale for step in cfg.train_dataloader.dataset.pipeline if 'scale' in step)
    assert scale == (64, 48)
    threshold = cfg.custom_hooks[0].stopping_threshold
    assert threshold == (0.5 if metric != 'mIoU' else 50)


def test_yolox_learns_as_at_the_end_of_its_training(data_root, monkeypatch, tmp_path):
    from mmlayerwise.engine.launch import build_runner, find_config

    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(data_root))
    cfg = Config.fromfile(find_config('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'))
    cfg.work_dir = str(tmp_path)
    model = {'backbone.widen_factor': 0.125, 'neck.in_channels': [32, 64, 128]}
    model |= {'neck.out_channels': 8, 'bbox_head.in_channels': 8, 'bbox_head.feat_channels': 8}
    settings = OverfitSettings(2, (64, 64), max_iterations=2, interval=2, model=model)
    prepare_overfitting(cfg, settings)
    cfg.launcher = 'none'
    runner = build_runner(cfg)
    runner.train()
    assert runner.model.bbox_head.use_l1
    assert runner.message_hub.get_scalar('train/loss_l1').current() > 0


def test_the_window_of_each_frame_is_what_is_trained_and_judged(data_root, monkeypatch, tmp_path):
    pytest.importorskip('mmseg')
    from mmlayerwise.engine.launch import find_config

    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(data_root))
    cfg = Config.fromfile(find_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'))
    cfg.work_dir = str(tmp_path)
    left, top, width, height = crop = (80, 180, 160, 120)
    settings = OverfitSettings(num_images=2, crop=crop, image_size=(320, 240))
    prepare_overfitting(cfg, settings)
    with DefaultScope.overwrite_default_scope('mmseg'):
        train, val = (DATASETS.build(cfg[f'{one}_dataloader'].dataset) for one in ('train', 'val'))
    assert len(train) == len(val) == 2
    frames = sorted((data_root / 'camvid/img_dir/train').iterdir())[:2]
    for frame, seen, judged in zip(frames, train, val, strict=True):
        labels = np.array(Image.open(data_root / 'camvid/ann_dir/train' / f'{frame.stem}.png'))
        labels = labels[top : top + height, left : left + width]
        labels[labels == 11] = 255
        # Trained: the window and its labels, both enlarged, each label to 2x2 pixels.
        assert seen['inputs'].shape == (3, 240, 320)
        enlarged = labels.repeat(2, axis=0).repeat(2, axis=1)
        np.testing.assert_array_equal(seen['data_samples'].gt_sem_seg.data[0], enlarged)
        window = np.array(Image.open(frame))[top : top + height, left : left + width]
        shrunk = seen['inputs'].numpy()[::-1].reshape(3, height, 2, width, 2).mean((2, 4))
        assert np.abs(shrunk.transpose(1, 2, 0) - window).mean() < 2
        # Judged: the same picture by the labels as they are.
        np.testing.assert_array_equal(judged['inputs'], seen['inputs'])
        np.testing.assert_array_equal(judged['data_samples'].gt_sem_seg.data[0], labels)
        assert judged['data_samples'].ori_shape == (height, width)


def test_windows_are_cut_to_the_pixel(tmp_path):
    values = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / 'map.png')
    cut_windows([tmp_path / 'map.png'], (5, 2, 3, 4), tmp_path / 'windows')
    window = np.array(Image.open(tmp_path / 'windows' / 'map.png'))
    np.testing.assert_array_equal(window, values[2:6, 5:8])


@pytest.mark.parametrize('crop', [(6, 2, 3, 4), (5, 3, 3, 4), (-1, 0, 3, 3), (0, 0, 0, 3)])
def test_a_window_that_leaves_the_frame_is_refused(crop, tmp_path):
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / 'map.png')
    with pytest.raises(UserError, match=r'crop: .* is not within map.png of 8x6 pixels'):
        cut_windows([tmp_path / 'map.png'], crop, tmp_path / 'windows')


def test_detectors_know_no_windows():
    cfg = Config(dict(default_scope='mmdet', model=dict(type='X')))
    with pytest.raises(UserError, match="crop is for segmentors' frames"):
        prepare_overfitting(cfg, OverfitSettings(crop=(0, 0, 10, 10)))
