"""Backbones the toolboxes lack.

Those that inherit from a toolbox are there where the toolbox is installed.
"""

from importlib.util import find_spec

from mmlayerwise.models.backbones.alexnet import AlexNet
from mmlayerwise.models.backbones.densenet import DenseNet
from mmlayerwise.models.backbones.densenet_cifar import DenseNetCIFAR
from mmlayerwise.models.backbones.googlenet import GoogLeNet
from mmlayerwise.models.backbones.inception_v3 import InceptionV3
from mmlayerwise.models.backbones.segmentation_vgg import SegmentationVGG
from mmlayerwise.models.backbones.unet_classic import UNetClassic
from mmlayerwise.models.backbones.vdcnn import VDCNN
from mmlayerwise.models.backbones.vgg import VGG

__all__ = [
    'VDCNN',
    'VGG',
    'AlexNet',
    'DenseNet',
    'DenseNetCIFAR',
    'GoogLeNet',
    'InceptionV3',
    'SegmentationVGG',
    'UNetClassic',
]

if find_spec('mmdet') is not None:
    from mmlayerwise.models.backbones.csp_darknet53 import CSPDarknet53
    from mmlayerwise.models.backbones.darknet19 import Darknet19
    from mmlayerwise.models.backbones.dla import DLANet
    from mmlayerwise.models.backbones.resnet_cifar import ResNetCIFAR
    from mmlayerwise.models.backbones.scaled_darknet import ScaledDarknet
    from mmlayerwise.models.backbones.scaled_efficientnet import ScaledEfficientNet
    from mmlayerwise.models.backbones.yolov1_darknet import YOLOv1Darknet

    __all__ += [
        'CSPDarknet53',
        'DLANet',
        'Darknet19',
        'ResNetCIFAR',
        'ScaledDarknet',
        'ScaledEfficientNet',
        'YOLOv1Darknet',
    ]

if find_spec('mmseg') is not None:
    from mmlayerwise.models.backbones.rearranged_resnext import RearrangedResNeXt
    from mmlayerwise.models.backbones.stemless_resnet import StemlessResNet

    __all__ += ['RearrangedResNeXt', 'StemlessResNet']
