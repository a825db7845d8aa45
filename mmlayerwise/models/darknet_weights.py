"""Darknet's ``.weights`` files: reading them into a model and writing them back.

A file has a header and then, as little-endian float32 in the order of darknet's config, the
numbers of every layer: of a convolution with batch normalisation its shift, scale, running mean,
running variance and kernels; of one without, and of a locally or fully connected layer, bias and
weights.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones.csp_darknet import SPPBottleneck
from mmdet.models.necks.yolo_neck import YOLOV3Neck
from torch import nn

from mmlayerwise.models.layers.locally_connected import LocallyConnected2d
from mmlayerwise.models.necks.yolov4_pan import YOLOv4PAN
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically

FLOAT = np.dtype('<f4')
LAYERS = (ConvModule, nn.Conv2d, nn.Linear, LocallyConnected2d)


@dataclass(frozen=True)
class DarknetHeader:
    """The head of a file.

    Attributes:
        major: Major version of the format.
        minor: Minor version.
        revision: Revision.
        seen: How many images the network was trained with.
    """

    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0

    @property
    def layout(self) -> str:
        """How it is stored: ``seen`` has 8 bytes from version 0.2 on, 4 before."""
        return '<iiiq' if self.major * 10 + self.minor >= 2 else '<iiii'

    @property
    def transposed(self) -> bool:
        """Whether weights of fully connected layers are stored input by input."""
        return self.major > 1000 or self.minor > 1000

    def pack(self) -> bytes:
        """The bytes of the header."""
        return struct.pack(self.layout, *asdict(self).values())


def read_darknet_file(path: str | os.PathLike) -> tuple[DarknetHeader, np.ndarray]:
    """Read a file without knowing the network.

    Args:
        path: The ``.weights`` file.

    Returns:
        Its header and its numbers, float32 of shape (M,).

    Raises:
        UserError: The file is too short for a header or does not end with a whole number.
    """
    content = Path(path).read_bytes()
    try:
        header = DarknetHeader(*struct.unpack_from('<iii', content), seen=0)
        header = DarknetHeader(*struct.unpack_from(header.layout, content))
    except struct.error as error:
        raise UserError(
            f'{path} has {len(content)} bytes, too few for the header of a darknet file'
        ) from error
    size = len(content) - struct.calcsize(header.layout)
    if size % FLOAT.itemsize:
        raise UserError(
            f'{path} does not end with a whole float32 number: it is cut off, or no darknet file'
        )
    return header, np.frombuffer(content, FLOAT, offset=struct.calcsize(header.layout))


def darknet_layers(model: nn.Module) -> list[nn.Module]:
    """List the layers with weights of a detector in the order of darknet's config.

    Args:
        model: YOLOv1, v2, v3, v4 or YOLO9000 of this package or of mmdet, or a network of such
            layers whose modules stand in their order.

    Returns:
        Modules of the types in :data:`LAYERS`.

    Raises:
        UserError: The order of the model's neck is not known.
    """
    neck = getattr(model, 'neck', None)
    if isinstance(neck, YOLOv4PAN):
        parts = _parts_of_yolov4(model)
    elif isinstance(neck, YOLOV3Neck):
        if any(type(module) is SPPBottleneck for module in neck.modules()):
            raise UserError(
                'the spatial pyramid pooling of mmdet joins its inputs in another order than '
                "darknet's; weights of yolov3-spp.cfg cannot be exchanged with this model"
            )
        parts = _parts_of_yolov3(model)
    else:
        parts = iter([model])
    return [layer for part in parts for layer in _walk(part)]


def load_darknet_weights(
    model: nn.Module, path: str | os.PathLike, first_layers_only: bool = False
) -> DarknetHeader:
    """Fill a model with the numbers of a file.

    Args:
        model: See :func:`darknet_layers`.
        path: The ``.weights`` file.
        first_layers_only: Whether the file may end after any layer, as the pre-trained first
            layers (``darknet53.conv.74``) do; the other layers stay as they are.

    Returns:
        The file's header; its ``seen`` is kept in a YOLOv2 head too.

    Raises:
        UserError: The file has more or fewer numbers than the model.
    """
    header, numbers = read_darknet_file(path)
    position = 0
    for layer in darknet_layers(model):
        if first_layers_only and position == len(numbers):
            break
        for tensor in _tensors(layer):
            part = numbers[position : position + tensor.numel()]
            position += tensor.numel()
            if len(part) == tensor.numel():
                _fill(tensor, part, layer, header)
        if position > len(numbers):
            break
    if position != len(numbers):
        expected = sum(t.numel() for layer in darknet_layers(model) for t in _tensors(layer))
        raise UserError(
            f'{path} has {len(numbers):,} numbers, the model of the config {expected:,}; take the '
            'config that the file was trained with, with its num_classes, or say '
            '--first-layers-only for a file of the first layers'
        )
    for module in model.modules():
        if isinstance(getattr(module, 'images_seen', None), torch.Tensor):
            module.images_seen.fill_(header.seen)
    return header


def save_darknet_weights(
    model: nn.Module, path: str | os.PathLike, header: DarknetHeader | None = None
) -> None:
    """Write the numbers of a model to a file.

    Args:
        model: See :func:`darknet_layers`.
        path: The ``.weights`` file.
        header: Its header; that of a file of version 0.2 by default.
    """
    header = header or DarknetHeader()
    layers = darknet_layers(model)
    with write_atomically(path) as temporary, temporary.open('wb') as file:
        file.write(header.pack())
        for layer in layers:
            for tensor in _tensors(layer):
                transposed = isinstance(layer, nn.Linear) and header.transposed
                values = tensor.t() if transposed and tensor.ndim == 2 else tensor
                file.write(values.detach().cpu().contiguous().numpy().astype(FLOAT).tobytes())


def _parts_of_yolov3(model: nn.Module) -> Iterator[nn.Module]:
    neck, head = model.neck, model.bbox_head
    yield model.backbone
    for level in range(neck.num_scales):
        if level:
            yield getattr(neck, f'conv{level}')
        yield getattr(neck, f'detect{level + 1}')
        yield head.convs_bridge[level]
        yield head.convs_pred[level]


def _parts_of_yolov4(model: nn.Module) -> Iterator[nn.Module]:
    neck, head = model.neck, model.bbox_head
    yield model.backbone
    yield neck.spp_block
    for parts in zip(neck.up_convs, neck.lateral_convs, neck.top_down_blocks, strict=True):
        yield from parts
    # The head has the coarsest level first, darknet's config the finest.
    outputs = list(zip(head.convs_bridge, head.convs_pred, strict=True))[::-1]
    yield from outputs[0]
    for *parts, output in zip(neck.down_convs, neck.bottom_up_blocks, outputs[1:], strict=True):
        yield from parts
        yield from output


def _walk(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost layers with weights, in the order of registration."""
    if isinstance(module, LAYERS):
        yield module
    else:
        for child in module.children():
            yield from _walk(child)


def _tensors(layer: nn.Module) -> list[torch.Tensor]:
    """What a file has of a layer, in its order."""
    if not isinstance(layer, ConvModule):
        return [layer.bias, layer.weight]
    if not layer.with_norm:
        return [layer.conv.bias, layer.conv.weight]
    norm = layer.norm
    return [norm.bias, norm.weight, norm.running_mean, norm.running_var, layer.conv.weight]


@torch.no_grad()
def _fill(
    tensor: torch.Tensor, numbers: np.ndarray, layer: nn.Module, header: DarknetHeader
) -> None:
    values = torch.from_numpy(numbers.copy())
    if isinstance(layer, nn.Linear) and header.transposed and tensor.ndim == 2:
        tensor.copy_(values.view(tensor.shape[::-1]).t())
    else:
        tensor.copy_(values.view_as(tensor))
