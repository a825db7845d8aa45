"""The data sets that the classification configs can be combined with."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmlayerwise.utils.data_check import check_data
from tests.test_datasets.test_mnist import IMAGES, write

FOLDER = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


def dataset_of(name, split, root, monkeypatch):
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(root))
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    with DefaultScope.overwrite_default_scope('mmlayerwise'):
        return DATASETS.build(cfg[f'{split}_dataloader'].dataset)


@pytest.mark.parametrize(
    ('name', 'per_class', 'classes'),
    [
        ('cifar10_plane_truck', 1000, ('airplane', 'truck')),
        ('cifar10_plane_cat_bird', 1000, ('airplane', 'cat', 'bird')),
    ],
)
def test_a_part_of_cifar10_has_the_images_of_its_classes(
    name, per_class, classes, data_root, monkeypatch
):
    data = dataset_of(name, 'val', data_root, monkeypatch)
    assert data.metainfo['classes'] == classes
    labels = data.get_gt_labels().tolist()
    assert [labels.count(label) for label in range(len(classes))] == [per_class] * len(classes)
    whole = dataset_of('cifar10', 'val', data_root, monkeypatch)
    names = [whole.metainfo['classes'][label] for label in whole.get_gt_labels()]
    kept = [one for one in names if one in classes]
    assert [classes[label] for label in labels] == kept


def test_the_number_of_classes_of_a_part_passes_the_check(data_root, monkeypatch):
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(data_root))
    cfg = Config.fromfile(FOLDER / 'cifar10_plane_truck.py')
    cfg.default_scope = 'mmlayerwise'
    cfg.model = dict(head=dict(num_classes=2))
    check_data(cfg, ('train', 'val'))


@pytest.mark.parametrize(
    ('name', 'kind', 'folder', 'classes'),
    [
        ('cifar100', 'CIFAR100', 'cifar-100-python', 100),
        ('fashion_mnist', 'FashionMNIST', 'fashion_mnist', 10),
    ],
)
def test_data_sets_to_download_are_named_with_their_folder(
    name, kind, folder, classes, monkeypatch
):
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', '/nowhere')
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    assert cfg.num_classes == classes
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.type, dataset.data_root) == (kind, f'/nowhere/{folder}/')
    kinds = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert kinds == ['PaddedRandomCrop', 'RandomFlip', 'PackClassificationInputs']


def test_fashion_mnist_becomes_colour_images_of_32x32(tmp_path, monkeypatch):
    (tmp_path / 'fashion_mnist').mkdir()
    write(tmp_path / 'fashion_mnist', 't10k')
    sample = dataset_of('fashion_mnist', 'val', tmp_path, monkeypatch)[1]
    image = sample['inputs'].numpy()
    assert image.shape == (3, 32, 32)
    np.testing.assert_array_equal(image[:, 2:-2, 2:-2], np.stack([IMAGES[1]] * 3))
    assert image[:, :2].max() == 0
