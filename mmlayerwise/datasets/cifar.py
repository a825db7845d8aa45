"""CIFAR-10 and CIFAR-100 in both official formats."""

from pathlib import Path

import numpy as np

from mmlayerwise.datasets.array_pickle import load_array_pickle
from mmlayerwise.datasets.base_classification_dataset import BaseClassificationDataset
from mmlayerwise.datasets.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES
from mmlayerwise.registry import DATASETS
from mmlayerwise.utils.errors import UserError

SIDE = 32
PIXEL_BYTES = 3 * SIDE * SIDE


def to_images(rows: np.ndarray) -> np.ndarray:
    """Turn rows of bytes into images.

    Args:
        rows: uint8 of shape (N, 3072): the red, green and blue plane, each row by row.

    Returns:
        uint8 of shape (N, 32, 32, 3), BGR.
    """
    planes = rows.reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes[:, ::-1].transpose(0, 2, 3, 1))


@DATASETS.register_module()
class CIFAR10(BaseClassificationDataset):
    """CIFAR-10 (Krizhevsky, 2009): 60,000 colour images of 32x32 in ten classes.

    The folder holds the files of the Python version (``data_batch_1`` ... ``test_batch``) or of the
    binary version (``data_batch_1.bin`` ... ``test_batch.bin``); which one is seen by the names.
    Pickles are read by a reader that runs nothing they name. Arguments as in
    :class:`BaseClassificationDataset`.
    """

    METAINFO = {'classes': CIFAR10_CLASSES}
    download_name = 'cifar10'
    files = {
        'train': tuple(f'data_batch_{number}' for number in range(1, 6)),
        'test': ('test_batch',),
    }
    images_per_file = {'train': 10_000, 'test': 10_000}
    label_key = 'labels'
    # Bytes before the pixels in a binary record; the last one is the label.
    label_bytes = 1

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the split's files, see the parent class.

        Returns:
            Images of shape (N, 32, 32, 3) and labels of shape (N,).
        """
        parts = []
        for name in self.files[self.split]:
            path = self.find_file(name, f'{name}.bin')
            read = self._read_binary if path.suffix == '.bin' else self._read_pickle
            parts.append(read(path))
        rows, labels = zip(*parts, strict=True)
        return to_images(np.concatenate(rows)), np.concatenate(labels)

    def _read_pickle(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        content = load_array_pickle(path)
        for key in ('data', self.label_key):
            if key not in content:
                raise UserError(
                    f'{path} has no {key!r} but {sorted(map(str, content))}; is it of '
                    f'{type(self).__name__}?'
                )
        rows, labels = content['data'], np.asarray(content[self.label_key])
        if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != PIXEL_BYTES:
            found = rows.shape if isinstance(rows, np.ndarray) else type(rows).__name__
            raise UserError(f'the data of {path} must have shape (N, {PIXEL_BYTES}); found {found}')
        if labels.dtype.kind not in 'iu' or labels.shape != rows.shape[:1]:
            raise UserError(
                f'{path} has {len(rows)} images, but its labels are not as many integers '
                f'(shape {labels.shape}, type {labels.dtype})'
            )
        return rows, labels.astype(np.int64)

    def _read_binary(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        content = np.fromfile(path, np.uint8)
        record = self.label_bytes + PIXEL_BYTES
        expected = self.images_per_file[self.split] * record
        if content.size != expected:
            raise UserError(
                f'{path} has {content.size} bytes where {type(self).__name__} has {expected} '
                f'({self.images_per_file[self.split]} records of {record}): it is truncated or '
                'another data set; download it again'
            )
        records = content.reshape(-1, record)
        labels = records[:, self.label_bytes - 1].astype(np.int64)
        return records[:, self.label_bytes :], labels


@DATASETS.register_module()
class CIFAR100(CIFAR10):
    """CIFAR-100 (Krizhevsky, 2009): 60,000 colour images of 32x32 in 100 classes.

    The folder holds ``train`` and ``test`` (Python version) or ``train.bin`` and ``test.bin``
    (binary version). The labels are the fine ones. Arguments as in
    :class:`BaseClassificationDataset`.
    """

    METAINFO = {'classes': CIFAR100_CLASSES}
    download_name = 'cifar100'
    files = {'train': ('train',), 'test': ('test',)}
    images_per_file = {'train': 50_000, 'test': 10_000}
    label_key = 'fine_labels'
    label_bytes = 2
