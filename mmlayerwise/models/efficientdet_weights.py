"""EfficientDet's weights under the names of its best-known port to PyTorch."""

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mmlayerwise.models.ported_weights import PortedNames

# Of 90 numbers, those of the categories of COCO that no image has.
UNUSED_CATEGORIES = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
USED_CLASSES = [number - 1 for number in range(1, 91) if number not in UNUSED_CATEGORIES]
_BLOCK = {
    'expand_conv.conv': '_expand_conv.conv',
    'expand_conv.bn': '_bn0',
    'depthwise_conv.conv': '_depthwise_conv.conv',
    'depthwise_conv.bn': '_bn1',
    'se.conv1.conv': '_se_reduce.conv',
    'se.conv2.conv': '_se_expand.conv',
    'linear_conv.conv': '_project_conv.conv',
    'linear_conv.bn': '_bn2',
}
_SEPARABLE = {'depthwise': 'depthwise_conv.conv', 'pointwise': 'pointwise_conv.conv'}
_BRANCH = {'cls_branch': 'classifier', 'reg_branch': 'regressor'}
# Finest level of the pyramid.
_FIRST_LEVEL = 3


class EfficientDetNames(PortedNames):
    """Names of ``Yet-Another-EfficientDet-Pytorch``, whose files hold the authors' weights.

    Its boxes are (y, x, height, width) where ours are (x, y, width, height). A model of 80 classes
    takes those of COCO from a file of 90.

    Args:
        model: EfficientDet of this package.
    """

    source = 'Yet-Another-EfficientDet-Pytorch'

    def __init__(self, model: nn.Module) -> None:
        # Ours counts the blocks by stage, theirs through.
        sizes = [len(stage) for stage in model.backbone.layers[1:]]
        self.first_blocks = [sum(sizes[:index]) for index in range(len(sizes))]

    def their_name(self, key: str) -> str:
        """Their key of one of ours; see :class:`PortedNames`."""
        part, *path, leaf = key.split('.')
        parts = {'backbone': self._backbone, 'neck': self._neck, 'bbox_head': self._head}
        names = list(parts[part](path))
        # The weights of a fusion are a tensor of the cell itself.
        return '.'.join(names if leaf == 'weights' else [*names, leaf])

    def _backbone(self, path: list[str]) -> Iterator[str]:
        yield 'backbone_net.model'
        stage = int(path[1])
        if stage == 0:
            yield {'conv': '_conv_stem.conv', 'bn': '_bn0'}[path[2]]
            return
        yield f'_blocks.{self.first_blocks[stage - 1] + int(path[2])}'
        yield _BLOCK['.'.join(path[3:])]

    def _neck(self, path: list[str]) -> Iterator[str]:
        yield 'bifpn'
        if path[0] != 'cells':
            yield '0'
            yield from self._lateral(*path)
            return
        yield path[1]
        down = path[2] == 'top_down'
        level = _FIRST_LEVEL + int(path[3]) + (not down)
        if path[4] == 'fusion':
            yield f'p{level}_w{1 if down else 2}'
            return
        yield f'conv{level}_{"up" if down else "down"}'
        yield 'bn' if path[4] == 'norm' else _SEPARABLE[path[5]]

    @staticmethod
    def _lateral(kind: str, *path: str) -> Iterator[str]:
        if kind == 'extra_lateral':
            yield 'p5_to_p6'
        elif kind == 'downward_laterals':
            yield f'p{_FIRST_LEVEL + int(path[0])}_down_channel'
        else:
            yield f'p{_FIRST_LEVEL + 1 + int(path[0])}_down_channel_2'
        yield {'0': '0.conv', '1': '1'}[path[-1]]

    @staticmethod
    def _head(path: list[str]) -> Iterator[str]:
        yield _BRANCH[path[0]]
        if path[1] == 'norms':
            yield f'bn_list.{path[2]}.{path[3]}'
        elif path[1] == 'convs':
            yield f'conv_list.{path[2]}.{_SEPARABLE[path[3]]}'
        else:
            yield f'header.{_SEPARABLE[path[2]]}'

    def to_ours(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Their tensor in our order of boxes and classes; see :class:`PortedNames`."""
        if key.startswith('bbox_head.reg_branch.predict.pointwise'):
            return _swap_coordinates(tensor)
        classes = key.startswith('bbox_head.cls_branch.predict.pointwise')
        if classes and 80 * len(tensor) == 90 * shape[0]:
            return tensor.unflatten(0, (-1, 90))[:, USED_CLASSES].flatten(0, 1)
        return tensor

    def to_theirs(self, key: str, tensor: Tensor) -> Tensor:
        """Our tensor in their order of boxes; see :class:`PortedNames`."""
        if key.startswith('bbox_head.reg_branch.predict.pointwise'):
            return _swap_coordinates(tensor)
        return tensor

    def is_superfluous(self, their_key: str) -> bool:
        """The files of D6 and D7, which add, have weights of the fusion all the same."""
        return re.fullmatch(r'bifpn\.\d+\.p\d_w[12]', their_key) is not None


def _swap_coordinates(tensor: Tensor) -> Tensor:
    """Exchange x with y and width with height in the outputs of every anchor."""
    return tensor.unflatten(0, (-1, 2, 2)).flip(2).flatten(0, 2)
