"""The rules of this project for cutting backbones, given as a plugin gives its own.

Families are told by the names of their classes, so that no toolbox has to be installed.
"""

from collections.abc import Callable

from torch import nn

from mmlayerwise.compression.truncation.chains import (
    truncate_googlenet,
    truncate_segmentation_vgg,
    truncate_ssd_vgg,
    truncate_vgg,
)
from mmlayerwise.compression.truncation.stages import fixed_stages, listed_stages, named_stages
from mmlayerwise.compression.truncation.unet import truncate_classic_unet, truncate_unet
from mmlayerwise.plugins import hookimpl

# Class, also of an ancestor -> rule; the first that fits.
RULES: dict[str, Callable[[nn.Module, str], nn.Module]] = {
    'SSDVGG': truncate_ssd_vgg,
    'SegmentationVGG': truncate_segmentation_vgg,
    'VGG': truncate_vgg,
    'ResNet': named_stages('res_layers'),  # and ResNeXt, Res2Net, RegNet, ResNeSt, SE-ResNet
    'GoogLeNet': truncate_googlenet,
    'InceptionV3': fixed_stages('stem', 'mixed5', 'mixed6', 'mixed7'),
    'DenseNetCIFAR': listed_stages('stages'),
    'MobileNetV2': named_stages('layers'),
    'EfficientNet': listed_stages('layers'),
    'CSPDarknet': named_stages('layers', frozen_through=True),
    'Darknet': named_stages('cr_blocks'),
    'UNet': truncate_unet,
    'UNetClassic': truncate_classic_unet,
    'VDCNN': listed_stages('stages'),
}


def rule_for(backbone: nn.Module) -> Callable[[nn.Module, str], nn.Module] | None:
    """Return the rule for a backbone, or None for a family without one."""
    ancestors = {kind.__name__ for kind in type(backbone).__mro__}
    return next((rule for name, rule in RULES.items() if name in ancestors), None)


@hookimpl
def truncate_backbone(backbone: nn.Module, layer: str) -> nn.Module | None:
    """Cut a backbone of a known family."""
    rule = rule_for(backbone)
    return None if rule is None else rule(backbone, layer)
