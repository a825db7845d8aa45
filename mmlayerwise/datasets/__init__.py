"""Data sets the toolboxes lack.

Those that inherit from a toolbox are there where the toolbox is installed.
"""

from importlib.util import find_spec

from mmlayerwise.datasets import transforms
from mmlayerwise.datasets.ag_news import AGNews
from mmlayerwise.datasets.base_classification_dataset import BaseClassificationDataset
from mmlayerwise.datasets.base_text_dataset import BaseTextDataset
from mmlayerwise.datasets.cifar import CIFAR10, CIFAR100
from mmlayerwise.datasets.dbpedia import DBpedia
from mmlayerwise.datasets.digits import Digits
from mmlayerwise.datasets.mnist import MNIST, FashionMNIST
from mmlayerwise.datasets.samplers import ClassBalancedBatchSampler

__all__ = [
    'CIFAR10',
    'CIFAR100',
    'MNIST',
    'AGNews',
    'BaseClassificationDataset',
    'BaseTextDataset',
    'ClassBalancedBatchSampler',
    'DBpedia',
    'Digits',
    'FashionMNIST',
    'transforms',
]

if find_spec('mmseg') is not None:
    from mmlayerwise.datasets.camvid import CamVidDataset
    from mmlayerwise.datasets.digit_scenes_segmentation import DigitScenesSegmentation

    __all__ += ['CamVidDataset', 'DigitScenesSegmentation']

if find_spec('mmdet') is not None:
    from mmlayerwise.datasets.digit_scenes import DigitScenes, DigitScenesPanoptic
    from mmlayerwise.datasets.image_level_dataset import ImageLevelDataset
    from mmlayerwise.datasets.joint_det_cls_dataset import JointDetClsDataset

    __all__ += ['DigitScenes', 'DigitScenesPanoptic', 'ImageLevelDataset', 'JointDetClsDataset']
