"""MNIST and Fashion-MNIST in the IDX format."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from mmlayerwise.datasets.base_classification_dataset import BaseClassificationDataset
from mmlayerwise.registry import DATASETS
from mmlayerwise.utils.errors import UserError

UNSIGNED_BYTE = 8


def read_idx(path: str | Path, ndim: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes.

    The format: two zero bytes, the type (8 = unsigned byte), the number of axes, the length of each
    axis as big-endian 32-bit integers, the data.

    Args:
        path: The file, plain or gzipped (by its content, not by its name).
        ndim: Number of axes it must have.

    Returns:
        uint8 array with ``ndim`` axes.

    Raises:
        UserError: If it is not such a file or is truncated.
    """
    content = _read_bytes(Path(path))
    header = 4 + 4 * ndim
    if len(content) < header or content[:4] != bytes((0, 0, UNSIGNED_BYTE, ndim)):
        raise UserError(
            f'{path} is not an IDX file of unsigned bytes with {ndim} axes: it begins with '
            f'{content[:4].hex(" ") or "nothing"} instead of 00 00 08 {ndim:02x}'
        )
    shape = tuple(np.frombuffer(content, '>u4', count=ndim, offset=4).tolist())
    if len(content) != header + math.prod(shape):
        raise UserError(
            f'{path} says it holds {math.prod(shape)} bytes (shape {shape}), but has '
            f'{len(content) - header}: it is truncated or damaged; download it again'
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b'\x1f\x8b':
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(
            f'{path} is a truncated or damaged gzip file ({error}); download it again'
        ) from error


@DATASETS.register_module()
class MNIST(BaseClassificationDataset):
    """MNIST (LeCun et al., 1998): 70,000 grey images of 28x28 of handwritten digits.

    The folder holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each plain or as ``.gz``.

    Args:
        data_root: Folder of the files.
        split: 'train' or 'test'.
        color_type: 'grayscale' gives images of shape (28, 28); 'color' repeats the channel three
            times, for networks that take colour images.
        **kwargs: See :class:`BaseClassificationDataset`.
    """

    METAINFO = {'classes': tuple('0123456789')}
    download_name = 'mnist'
    prefixes = {'train': 'train', 'test': 't10k'}

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        color_type: str = 'grayscale',
        **kwargs,  # noqa: ANN003
    ) -> None:
        if color_type not in ('grayscale', 'color'):
            raise UserError(f"color_type must be 'grayscale' or 'color', but is {color_type!r}")
        self.color_type = color_type
        super().__init__(data_root, split, **kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the split's files, see the parent class.

        Returns:
            Images of shape (N, 28, 28) or (N, 28, 28, 3) and labels of shape (N,).
        """
        prefix = self.prefixes[self.split]
        images_path = self._find(f'{prefix}-images-idx3-ubyte')
        labels_path = self._find(f'{prefix}-labels-idx1-ubyte')
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if len(images) != len(labels):
            raise UserError(
                f'{images_path} has {len(images)} images, but {labels_path} {len(labels)} labels; '
                'the two files do not belong together'
            )
        if self.color_type == 'color':
            images = np.repeat(images[..., None], 3, axis=-1)
        return images, labels.astype(np.int64)

    def _find(self, name: str) -> Path:
        return self.find_file(name, f'{name}.gz')


@DATASETS.register_module()
class FashionMNIST(MNIST):
    """Fashion-MNIST (Xiao et al., 2017): 70,000 grey images of 28x28 of clothes.

    Files and arguments as in :class:`MNIST`.
    """

    METAINFO = {
        'classes': (
            'T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker',
            'Bag', 'Ankle boot',
        )
    }  # fmt: skip
    download_name = 'fashion_mnist'
