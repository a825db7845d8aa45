"""The data pipelines of the YOLO configs, on real images."""

from pathlib import Path

import pytest

pytest.importorskip('mmdet')

import mmcv
import numpy as np
from mmengine import Config
from mmengine.registry import DATASETS, HOOKS, DefaultScope

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'shapes'),
    [
        ('yolov1/yolov1_8xb8-135e_voc0712', [(448, 448), (448, 448)]),
        ('yolov2/yolov2_d19_8xb8-ms-160e_coco', [(416, 416), None]),
        ('yolov4/yolov4_csp53_8xb8-mosaic-273e_coco', [(608, 608), None]),
        ('yolov4/yolov4_csp53_8xb8-mosaic-cutmix-273e_coco', [(608, 608), None]),
        ('yolo9000/yolo9000_d19_8xb8-ms-160e_coco-tree', [(416, 416), None]),
    ],
)
def test_pipelines_give_images_of_the_input_size(name, shapes, data_root):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    source = dict(
        type='CocoDataset',
        data_root=f'{data_root}/coco_mini/',
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True),
    )
    train = config.train_dataloader.dataset
    if train.type == 'MultiImageMixDataset':
        train.dataset.data_root = source['data_root']
    else:
        train = dict(source, pipeline=config.train_pipeline)
    test = dict(source, pipeline=config.test_pipeline, test_mode=True)
    with DefaultScope.overwrite_default_scope('mmdet'):
        for settings, shape in zip((train, test), shapes, strict=True):
            item = DATASETS.build(settings)[0]
            height, width = item['inputs'].shape[1:]
            if shape is None:  # fitted, with the image's own ratio
                assert max(height, width) == max(shapes[0])
            else:
                assert (height, width) == shape
            boxes = item['data_samples'].gt_instances.bboxes.tensor
            assert len(boxes) > 0
            # Test boxes stay in pixels of the original image, where they are compared.
            limit = item['data_samples'].ori_shape if settings is test else (height, width)
            assert boxes.max() <= max(limit)


def test_cutmix_and_self_adversarial_training_are_options_of_yolov4():
    plain, cutmix, adversarial = (
        Config.fromfile(CONFIGS / 'yolov4' / f'yolov4_csp53_8xb8-{name}-273e_coco.py')
        for name in ('mosaic', 'mosaic-cutmix', 'mosaic-sat')
    )
    types = [step.type for step in cutmix.train_dataloader.dataset.pipeline]
    assert types[:4] == ['Mosaic', 'RandomAffine', 'mmlayerwise.CutMix', 'PhotoMetricDistortion']
    plain_types = [step.type for step in plain.train_dataloader.dataset.pipeline]
    assert [one for one in types if one != 'mmlayerwise.CutMix'] == plain_types
    assert 'custom_hooks' not in plain
    (hook,) = adversarial.custom_hooks
    assert HOOKS.build(hook).prob == 0.5
    assert plain.model == cutmix.model == adversarial.model


def test_joint_training_mixes_boxes_and_words(data_root, tmp_path):
    config = Config.fromfile(CONFIGS / 'yolo9000' / 'yolo9000_d19_8xb8-ms-160e_coco-tree-joint.py')
    mmcv.imwrite(np.zeros((40, 60, 3), np.uint8), str(tmp_path / 'image_labels/dog/1.jpg'))
    dataset = config.train_dataloader.dataset
    dataset.detection.data_root = f'{data_root}/coco_mini/'
    dataset.classification.data_root = str(tmp_path)
    with DefaultScope.overwrite_default_scope('mmdet'):
        joint = DATASETS.build(dataset)
        boxed, labelled = joint[0]['data_samples'], joint[len(joint) - 1]['data_samples']
    first, second = (len(one) for one in joint.datasets)
    assert second == 4 * first
    assert 'image_level' not in boxed
    assert labelled.image_level
    tree = (CONFIGS / 'yolo9000' / 'coco.tree').read_text().splitlines()
    assert labelled.gt_instances.labels.tolist() == [tree.index('dog 3')]
    assert config.train_dataloader.batch_sampler is None
