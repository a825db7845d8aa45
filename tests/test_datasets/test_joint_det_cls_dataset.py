import mmcv
import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.datasets.samplers import MultiSourceSampler
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, DefaultScope

from mmlayerwise.datasets import DigitScenes, ImageLevelDataset, JointDetClsDataset
from mmlayerwise.datasets.transforms import LoadImageLabel
from mmlayerwise.utils.errors import UserError

TREE = 'animal -1\nthing -1\nbig cat 0\ndog 0\ncup 1\n'
LOADING = [dict(type='LoadImageFromFile'), dict(type='mmlayerwise.LoadImageLabel')]
META = ('img_id', 'img_path', 'ori_shape', 'img_shape')


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def folder(tmp_path):
    """Two dogs, a big cat, and a folder that is no word."""
    (tmp_path / 'a.tree').write_text(TREE)
    for number, place in enumerate(['dog/1.jpg', 'dog/2.png', 'big cat/1.jpg', 'other/1.jpg']):
        image = np.full((32, 48, 3), 10 * number, dtype=np.uint8)
        mmcv.imwrite(image, str(tmp_path / 'images' / place))
    (tmp_path / 'images' / 'dog' / 'notes.txt').write_text('no image')
    return tmp_path


def labelled(folder, pipeline=(), **changes):
    arguments = dict(data_root=str(folder), data_prefix=dict(img='images'), **changes)
    return ImageLevelDataset(str(folder / 'a.tree'), pipeline=list(pipeline), **arguments)


def boxed(count, pipeline=(), **changes):
    small = dict(image_size=(64, 64), digit_size=(16, 40), pipeline=list(pipeline))
    return DigitScenes(count, **small, **changes)


def test_folders_named_after_nodes_are_read_in_order(folder):
    dataset = labelled(folder)
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [(one['img_path'].rsplit('/', 2)[1:], one['image_label']) for one in samples] == [
        (['big cat', '1.jpg'], 2),
        (['dog', '1.jpg'], 3),
        (['dog', '2.png'], 3),
    ]
    assert dataset.metainfo['classes'] == ('animal', 'thing', 'big cat', 'dog', 'cup')
    assert dataset.get_cat_ids(1) == [3]


def test_folders_without_a_node_are_explained(folder):
    (folder / 'a.tree').write_text('bird -1\n')
    with pytest.raises(UserError, match=r'there are big cat, dog, other, and nodes such as bird'):
        labelled(folder)
    with pytest.raises(UserError, match=r'the folder .*nowhere does not exist'):
        ImageLevelDataset(
            str(folder / 'a.tree'), data_root=str(folder), data_prefix=dict(img='nowhere')
        )


def test_a_label_becomes_a_box_of_the_whole_image():
    results = LoadImageLabel()({'img': np.zeros((20, 30, 3)), 'image_label': 7})
    assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 30, 20]]
    assert results['gt_bboxes_labels'].tolist() == [7]
    assert results['gt_ignore_flags'].tolist() == [False]
    assert results['image_level'] is True


@pytest.mark.parametrize(
    ('num_boxed', 'ratio', 'lengths'),
    [
        (2, 4.0, [2, 8]),  # too few labels are repeated
        (2, 0.5, [6, 3]),  # too few boxes are
        (2, 1.5, [2, 3]),
        (2, None, [2, 3]),
    ],
)
def test_the_smaller_part_is_repeated_up_to_the_ratio(folder, num_boxed, ratio, lengths):
    joint = JointDetClsDataset(boxed(num_boxed), labelled(folder), ratio=ratio)
    assert [len(one) for one in joint.datasets] == lengths
    assert len(joint) == sum(lengths)
    infos = [joint.get_data_info(index) for index in range(len(joint))]
    assert ['image_label' in info for info in infos] == [False] * lengths[0] + [True] * lengths[1]
    # Every image of both is seen.
    assert len({info['img_path'] for info in infos}) == num_boxed + 3
    assert joint.metainfo['classes'] == DigitScenes.METAINFO['classes']


def test_mmdets_sampler_keeps_the_ratio_in_every_batch(folder):
    joint = JointDetClsDataset(boxed(2), labelled(folder), ratio=4.0)
    sampler = iter(MultiSourceSampler(joint, batch_size=5, source_ratio=[1, 4], seed=0))
    for _ in range(3):
        batch = [joint.get_dataset_source(next(sampler)) for _ in range(5)]
        assert batch == [0, 1, 1, 1, 1]


def test_yolo9000_learns_from_a_mixed_batch(folder):
    detection = boxed(
        1,
        [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=META),
        ],
    )
    classification = labelled(
        folder,
        [
            *LOADING,
            dict(type='Resize', scale=(64, 64), keep_ratio=False),
            dict(type='PackDetInputs', meta_keys=(*META, 'image_level')),
        ],
    )
    joint = JointDetClsDataset(detection, classification, ratio=1.0)
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='SingleStageDetector',
            data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
            backbone=dict(type='mmlayerwise.Darknet19', widen_factor=0.0625, out_indices=(5,)),
            bbox_head=dict(
                type='mmlayerwise.YOLO9000Head',
                tree=str(folder / 'a.tree'),
                classes=['cup', 'dog', 'big cat', 'thing', 'animal'] * 2,
                in_channels=64,
                prior_images=0,
            ),
        )
    )

    def losses(*indices):
        data = model.data_preprocessor(pseudo_collate([joint[i] for i in indices]), training=True)
        model.eval()  # the statistics of a batch would mix the images
        return model(**data, mode='loss')

    both, boxes, label = losses(0, 3), losses(0), losses(3)
    for name, value in both.items():
        torch.testing.assert_close(value, (boxes[name] + label[name]) / 2)
    assert boxes['loss_bbox'] > 0
    assert label['loss_bbox'] == 0
    assert label['loss_cls'] > 0


def test_wrong_arguments_are_refused(folder):
    with pytest.raises(UserError, match='ratio must be positive, but is 0'):
        JointDetClsDataset(boxed(1), labelled(folder), ratio=0)
    with pytest.raises(UserError, match='there are 0 images with boxes and 3 with a label'):
        JointDetClsDataset(boxed(0, serialize_data=False), labelled(folder))
