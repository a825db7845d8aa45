import pytest
from mmengine.config import Config

from mmlayerwise.engine.overfitting import OverfitSettings, choose_images, prepare_overfitting
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
