import pickle
from pathlib import Path

import numpy as np
import pytest

from mmlayerwise.datasets import CIFAR10, CIFAR100
from mmlayerwise.registry import DATASETS
from mmlayerwise.utils.errors import UserError

PER_FILE = 4


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    for dataset in (CIFAR10, CIFAR100):
        monkeypatch.setattr(dataset, 'images_per_file', {'train': PER_FILE, 'test': PER_FILE})


def random_rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(PER_FILE, 3072), dtype=np.uint8)


def write_python(dataset: type[CIFAR10], root: Path, split: str, labels: list[int]) -> None:
    for number, name in enumerate(dataset.files[split]):
        content = {b'data': random_rows(number), dataset.label_key.encode(): labels}
        (root / name).write_bytes(pickle.dumps(content, protocol=2))


def write_binary(dataset: type[CIFAR10], root: Path, split: str, labels: list[int]) -> None:
    for number, name in enumerate(dataset.files[split]):
        coarse = np.zeros((PER_FILE, dataset.label_bytes - 1), np.uint8)
        fine = np.array(labels, np.uint8)[:, None]
        records = np.concatenate([coarse, fine, random_rows(number)], axis=1)
        (root / f'{name}.bin').write_bytes(records.tobytes())


@pytest.mark.parametrize('write', [write_python, write_binary])
@pytest.mark.parametrize(
    ('dataset', 'split', 'labels', 'num_files'),
    [
        (CIFAR10, 'train', [3, 0, 9, 9], 5),
        (CIFAR10, 'test', [3, 0, 9, 9], 1),
        (CIFAR100, 'train', [99, 0, 42, 7], 1),
        (CIFAR100, 'test', [99, 0, 42, 7], 1),
    ],
)
def test_reads_both_formats(tmp_path, write, dataset, split, labels, num_files):
    write(dataset, tmp_path, split, labels)
    data = dataset(tmp_path, split)
    assert len(data) == PER_FILE * num_files
    assert data.get_gt_labels().tolist() == labels * num_files
    assert data.test_mode == (split == 'test')
    red, green, blue = random_rows(num_files - 1)[2].reshape(3, 32, 32)
    sample = data[PER_FILE * (num_files - 1) + 2]
    np.testing.assert_array_equal(sample['img'], np.stack([blue, green, red], axis=-1))
    assert sample['gt_label'] == labels[2]
    assert sample['img_shape'] == (32, 32)
    assert data.get_cat_ids(1) == [0]


def test_real_files(data_root):
    data = CIFAR10(data_root / 'cifar-10-batches-py', 'test')
    labels = data.get_gt_labels()
    assert np.bincount(labels).tolist() == [1000] * 10
    # Ships are on blue water: with the channels in BGR order the first is the strongest.
    ships = [data.get_data_info(i)['img'] for i in np.flatnonzero(labels == 8)[:200]]
    blue, green, red = np.mean(ships, axis=(0, 1, 2))
    assert blue > green > red


def test_a_subset_and_other_names(tmp_path):
    write_python(CIFAR10, tmp_path, 'test', [0, 1, 2, 3])
    config = {
        'type': 'mmlayerwise.CIFAR10',
        'data_root': str(tmp_path),
        'split': 'test',
        'indices': [2, 3],
        'metainfo': {'classes': tuple('abcdefghij')},
    }
    data = DATASETS.build(config)
    assert [data[index]['gt_label'] for index in range(len(data))] == [2, 3]
    assert data.metainfo['classes'][2] == 'c'


def test_classes_of_the_data_set_in_the_metainfo_are_selected_and_numbered_anew(tmp_path):
    write_python(CIFAR10, tmp_path, 'train', [9, 0, 3, 9])
    classes = ('truck', 'airplane')
    data = CIFAR10(tmp_path, 'train', metainfo={'classes': classes}, indices=5)
    assert data.get_gt_labels().tolist() == [0, 1, 0, 0, 1]
    assert data.metainfo['classes'] == classes
    whole = CIFAR10(tmp_path, 'train')
    for number, origin in enumerate((0, 1, 3, 4, 5)):
        np.testing.assert_array_equal(
            data.get_data_info(number)['img'], whole.get_data_info(origin)['img']
        )


def test_a_class_named_twice_is_refused(tmp_path):
    write_python(CIFAR10, tmp_path, 'test', [9, 0, 3, 9])
    with pytest.raises(UserError, match='names a class twice: cat, cat'):
        CIFAR10(tmp_path, 'test', metainfo={'classes': ('cat', 'cat')})


def test_class_names():
    assert len(CIFAR10.METAINFO['classes']) == 10
    names = CIFAR100.METAINFO['classes']
    assert len(set(names)) == 100
    assert list(names) == sorted(names)


@pytest.mark.parametrize(('dataset', 'name'), [(CIFAR10, 'cifar10'), (CIFAR100, 'cifar100')])
def test_missing_folder_says_how_to_get_the_data(tmp_path, dataset, name):
    with pytest.raises(UserError, match=rf'absent does not exist.*download_dataset.py {name}`'):
        dataset(tmp_path / 'absent')


def test_missing_file_is_named(tmp_path):
    write_python(CIFAR10, tmp_path, 'train', [0, 1, 2, 3])
    (tmp_path / 'data_batch_4').unlink()
    with pytest.raises(UserError, match=r'no data_batch_4 or data_batch_4\.bin in .*download_data'):
        CIFAR10(tmp_path)


def test_truncated_binary_file_is_refused(tmp_path):
    write_binary(CIFAR10, tmp_path, 'test', [0, 1, 2, 3])
    path = tmp_path / 'test_batch.bin'
    path.write_bytes(path.read_bytes()[:-3073])
    with pytest.raises(UserError, match='has 9219 bytes where CIFAR10 has 12292'):
        CIFAR10(tmp_path, 'test')


def test_truncated_pickle_is_refused(tmp_path):
    write_python(CIFAR10, tmp_path, 'test', [0, 1, 2, 3])
    path = tmp_path / 'test_batch'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r'test_batch is truncated .*download it again'):
        CIFAR10(tmp_path, 'test')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'data': random_rows(0)}, "has no 'labels' but"),
        ({'data': random_rows(0)[:, :-1], 'labels': [0] * PER_FILE}, r'shape \(N, 3072\)'),
        ({'data': [1, 2], 'labels': [0, 1]}, 'found list'),
        ({'data': random_rows(0), 'labels': [0]}, 'not as many integers'),
        ({'data': random_rows(0), 'labels': ['a'] * PER_FILE}, 'not as many integers'),
        ({'data': random_rows(0), 'labels': [0, 1, 2, 10]}, 'from 0 to 10, but 10 classes'),
    ],
)
def test_wrong_contents_are_explained(tmp_path, content, message):
    (tmp_path / 'test_batch').write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=message):
        CIFAR10(tmp_path, 'test')


def test_unknown_split_is_refused(tmp_path):
    with pytest.raises(UserError, match="'train' or 'test', but is 'val'"):
        CIFAR10(tmp_path, 'val')
