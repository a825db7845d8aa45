import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from mmlayerwise.datasets import MNIST, FashionMNIST
from mmlayerwise.datasets.mnist import read_idx
from mmlayerwise.utils.errors import UserError

IMAGES = np.random.default_rng(0).integers(256, size=(5, 28, 28), dtype=np.uint8)
LABELS = np.array([7, 2, 1, 0, 9], np.uint8)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f'>HBB{array.ndim}I', 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(root: Path, prefix: str, labels: np.ndarray = LABELS, compress: bool = False) -> None:
    for name, array in (('images-idx3', IMAGES), ('labels-idx1', labels)):
        path, content = root / f'{prefix}-{name}-ubyte', idx(array)
        if compress:
            path, content = path.with_name(f'{path.name}.gz'), gzip.compress(content)
        path.write_bytes(content)


@pytest.mark.parametrize('compress', [False, True])
@pytest.mark.parametrize(('split', 'prefix'), [('train', 'train'), ('test', 't10k')])
@pytest.mark.parametrize('dataset', [MNIST, FashionMNIST])
def test_reads_plain_and_gzipped_files(tmp_path, dataset, split, prefix, compress):
    write(tmp_path, prefix, compress=compress)
    data = dataset(tmp_path, split)
    assert data.get_gt_labels().tolist() == LABELS.tolist()
    np.testing.assert_array_equal(data[3]['img'], IMAGES[3])


def test_colour_repeats_the_channel(tmp_path):
    write(tmp_path, 'train')
    image = MNIST(tmp_path, color_type='color')[1]['img']
    np.testing.assert_array_equal(image, np.stack([IMAGES[1]] * 3, axis=-1))


def test_unknown_colour_type_is_refused(tmp_path):
    with pytest.raises(UserError, match="'grayscale' or 'color', but is 'rgb'"):
        MNIST(tmp_path, color_type='rgb')


@pytest.mark.parametrize(('dataset', 'name'), [(MNIST, 'mnist'), (FashionMNIST, 'fashion_mnist')])
def test_missing_file_says_how_to_get_the_data(tmp_path, dataset, name):
    message = rf'no train-images-idx3-ubyte or .*\.gz in .*download_dataset.py {name}`'
    with pytest.raises(UserError, match=message):
        dataset(tmp_path)


def test_files_that_do_not_belong_together(tmp_path):
    write(tmp_path, 'train', labels=LABELS[:4])
    with pytest.raises(UserError, match=r'5 images, but .* 4 labels'):
        MNIST(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'begins with nothing'),
        (b'<html>404', 'begins with 3c 68 74 6d'),
        (idx(LABELS), 'instead of 00 00 08 03'),
        (idx(IMAGES)[:-1], 'says it holds 3920 bytes .* but has 3919'),
        (idx(IMAGES) + b'x', 'but has 3921'),
        (gzip.compress(idx(IMAGES))[:-20], 'truncated or damaged gzip file'),
    ],
)
def test_damaged_files_are_explained(tmp_path, content, message):
    path = tmp_path / 'train-images-idx3-ubyte'
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_idx(path, 3)
