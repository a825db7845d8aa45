import json

import pytest
from mmengine.config import Config

from mmlayerwise.utils.data_check import check_data
from mmlayerwise.utils.errors import UserError

pytest.importorskip('mmdet')


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / 'images').mkdir()
    content = {
        'images': [],
        'annotations': [],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    }
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='boxes.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=('cat', 'dog')),
    )
    return Config(
        dict(
            default_scope='mmdet',
            model=dict(
                type='FasterRCNN',
                rpn_head=dict(num_classes=1),
                roi_head=dict(bbox_head=dict(num_classes=2), mask_head=dict(num_classes=2)),
            ),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset)),
            val_dataloader=dict(dataset=dataset),
        )
    )


@pytest.fixture
def dataset(cfg):
    return cfg.train_dataloader.dataset.dataset


def test_data_that_fits_passes(cfg):
    check_data(cfg)


def test_a_missing_data_root_is_named_with_the_mend(cfg, dataset):
    dataset.data_root = '/no/such/folder'
    with pytest.raises(UserError, match=r"dataset\.data_root: there is no folder '/no/such/folder"):
        check_data(cfg)
    check_data(cfg, splits=('val',))  # a loader that is not used is not checked


def test_a_missing_annotation_file_is_named_with_what_there_is(cfg, dataset):
    dataset.ann_file = 'boxs.json'
    with pytest.raises(UserError, match=r'ann_file: .*boxs\.json.* does not exist.*boxes\.json'):
        check_data(cfg)


def test_a_missing_image_folder_is_named(cfg, dataset):
    dataset.data_prefix.img = 'train2017/'
    with pytest.raises(UserError, match=r'data_prefix\.img: there is no folder .*boxes\.json'):
        check_data(cfg)


@pytest.mark.parametrize('content', ['<html>not found</html>', '{"images": [', '', '\udcff'])
def test_an_annotation_file_that_is_not_json_is_named(cfg, tmp_path, content):
    (tmp_path / 'boxes.json').write_bytes(content.encode('utf-8', 'surrogateescape'))
    with pytest.raises(UserError, match=r'boxes\.json.* is not JSON .*download it again'):
        check_data(cfg)


def test_a_large_annotation_file_is_judged_by_its_ends(cfg, tmp_path, monkeypatch):
    monkeypatch.setattr('mmlayerwise.utils.data_check.MAX_PARSED_BYTES', 100)
    file = tmp_path / 'boxes.json'
    file.write_text(json.dumps({'images': ['x' * 2000]}))
    check_data(cfg)
    file.write_text(file.read_text()[:-5])
    with pytest.raises(UserError, match='does not end as it begins'):
        check_data(cfg)


def test_categories_of_another_data_set_are_listed(cfg, dataset):
    dataset.metainfo.classes = ('car', 'tree')
    with pytest.raises(UserError, match=r'none of the categories .*cat, dog.* classes .*car, tree'):
        check_data(cfg)


@pytest.mark.parametrize('head', ['bbox_head', 'mask_head'])
def test_a_wrong_number_of_classes_is_named_with_the_right_one(cfg, head):
    cfg.model.roi_head[head].num_classes = 80
    with pytest.raises(UserError, match=rf'roi_head\.{head}\.num_classes is 80.* has 2 classes'):
        check_data(cfg)


def test_the_classes_of_the_data_set_class_count_where_the_config_names_none(cfg, dataset):
    del dataset['metainfo']
    dataset.ann_file = ''
    with pytest.raises(UserError, match=r'num_classes is 2, but .* has 80 classes'):
        check_data(cfg)


def test_data_behind_an_address_is_left_alone(cfg, dataset):
    dataset.data_root = 's3://bucket/coco/'
    check_data(cfg)
