"""Data sets the toolboxes lack.

Those that inherit from a toolbox are there where the toolbox is installed.
"""

from importlib.util import find_spec

from mmlayerwise.datasets import transforms
from mmlayerwise.datasets.base_classification_dataset import BaseClassificationDataset
from mmlayerwise.datasets.cifar import CIFAR10, CIFAR100
from mmlayerwise.datasets.mnist import MNIST, FashionMNIST

__all__ = [
    'CIFAR10',
    'CIFAR100',
    'MNIST',
    'BaseClassificationDataset',
    'FashionMNIST',
    'transforms',
]

if find_spec('mmseg') is not None:
    from mmlayerwise.datasets.camvid import CamVidDataset

    __all__ += ['CamVidDataset']
