"""The data pipelines of the YOLO configs, on real images."""

from pathlib import Path

import pytest

pytest.importorskip('mmdet')

from mmengine import Config
from mmengine.registry import DATASETS, DefaultScope

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'shapes'),
    [
        ('yolov1/yolov1_8xb8-135e_voc0712', [(448, 448), (448, 448)]),
        ('yolov2/yolov2_d19_8xb8-ms-160e_coco', [(416, 416), None]),
        ('yolov4/yolov4_csp53_8xb8-mosaic-273e_coco', [(608, 608), None]),
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
