import struct

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')

from mmcv.cnn import ConvModule
from mmengine import Config
from mmengine.registry import MODELS, DefaultScope

import mmlayerwise.models  # noqa: F401
from mmlayerwise.models.darknet_weights import (
    DarknetHeader,
    darknet_layers,
    load_darknet_weights,
    read_darknet_file,
    save_darknet_weights,
)
from mmlayerwise.models.layers import LocallyConnected2d
from mmlayerwise.utils.errors import UserError
from mmlayerwise.zoo import load_zoo

HEADERS = [
    DarknetHeader(0, 1, 0, 7),
    DarknetHeader(0, 2, 5, 2**33),
    DarknetHeader(1, 0, 0, 64),
    DarknetHeader(0, 1001, 0, 3),
]


def tiny_network():
    return nn.Sequential(
        ConvModule(2, 3, 3, norm_cfg=dict(type='BN')),
        nn.Sequential(ConvModule(3, 2, 1), nn.MaxPool2d(2)),
        LocallyConnected2d(2, 2, (2, 2), kernel_size=1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


NUM_NUMBERS = (4 * 3 + 54) + (2 + 6) + (8 + 16) + (3 + 24)


def write_file(path, header, count=NUM_NUMBERS):
    """A file by hand: 0, 1, 2 and so on after the header."""
    seen = struct.pack('<q' if header.major * 10 + header.minor >= 2 else '<i', header.seen)
    numbers = struct.pack(f'<{count}f', *range(count))
    content = struct.pack('<3i', header.major, header.minor, header.revision) + seen + numbers
    path.write_bytes(content)
    return content


@pytest.mark.parametrize('header', HEADERS, ids=str)
def test_round_trip_is_identical_to_the_byte(tmp_path, header):
    content = write_file(tmp_path / 'net.weights', header)
    network = tiny_network()
    assert load_darknet_weights(network, tmp_path / 'net.weights') == header
    save_darknet_weights(network, tmp_path / 'again.weights', header)
    assert (tmp_path / 'again.weights').read_bytes() == content


@pytest.mark.parametrize('transposed', [False, True])
def test_numbers_come_in_darknets_order(tmp_path, transposed):
    write_file(tmp_path / 'net.weights', DarknetHeader(0, 1001 if transposed else 2))
    network = tiny_network()
    load_darknet_weights(network, tmp_path / 'net.weights')
    norm = network[0].norm
    assert norm.bias.tolist() == [0, 1, 2]
    assert norm.weight.tolist() == [3, 4, 5]
    assert norm.running_mean.tolist() == [6, 7, 8]
    assert norm.running_var.tolist() == [9, 10, 11]
    assert network[0].conv.weight.flatten().tolist() == list(range(12, 66))
    assert network[1][0].conv.bias.tolist() == [66, 67]
    assert network[1][0].conv.weight.flatten().tolist() == list(range(68, 74))
    assert network[2].bias.flatten().tolist() == list(range(74, 82))
    assert network[2].weight.flatten().tolist() == list(range(82, 98))
    assert network[4].bias.tolist() == [98, 99, 100]
    weight = np.arange(101, 125).reshape((8, 3) if transposed else (3, 8))
    assert network[4].weight.tolist() == (weight.T if transposed else weight).tolist()


def test_first_layers_leave_the_others_alone(tmp_path):
    write_file(tmp_path / 'net.conv.2', DarknetHeader(), count=66 + 8)
    network = tiny_network()
    before = network[4].weight.clone()
    load_darknet_weights(network, tmp_path / 'net.conv.2', first_layers_only=True)
    assert network[1][0].conv.weight.flatten().tolist() == list(range(68, 74))
    assert torch.equal(network[4].weight, before)


@pytest.mark.parametrize(
    ('count', 'first_layers_only'),
    [(NUM_NUMBERS - 1, False), (NUM_NUMBERS + 1, False), (74, False), (75, True)],
)
def test_other_number_of_weights_is_refused(tmp_path, count, first_layers_only):
    write_file(tmp_path / 'net.weights', DarknetHeader(), count)
    with pytest.raises(UserError, match=f'has {count} numbers, the model of the config 125'):
        load_darknet_weights(tiny_network(), tmp_path / 'net.weights', first_layers_only)


def test_file_without_a_header_is_refused(tmp_path):
    (tmp_path / 'net.weights').write_bytes(b'12345')
    with pytest.raises(UserError, match='has 5 bytes, too few'):
        read_darknet_file(tmp_path / 'net.weights')


def test_file_that_was_cut_off_is_refused(tmp_path):
    content = write_file(tmp_path / 'net.weights', DarknetHeader())
    (tmp_path / 'net.weights').write_bytes(content[:-1])
    with pytest.raises(UserError, match='is cut off'):
        read_darknet_file(tmp_path / 'net.weights')


def build_on_meta(name):
    (config,) = [m.config_path for s in load_zoo() for m in s.models if m.name == name]
    model = Config.fromfile(config).model
    for part in (model, model.backbone):
        part.init_cfg = None
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model)


def numbers_of(layer):
    """How many numbers darknet keeps of a layer."""
    statistics = sum(b.numel() for n, b in layer.named_buffers() if 'running' in n)
    return sum(p.numel() for p in layer.parameters()) + statistics


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        # Sizes in bytes of the files that darknet's author published.
        ('yolov2_d19_8xb8-ms-160e_coco', 203_934_260),
        ('yolov3_d53_8xb8-320-273e_coco', 248_007_048),
        ('yolov4_csp53_8xb8-mosaic-273e_coco', 257_717_640),
    ],
)
def test_all_numbers_of_the_published_files_have_a_place(name, size):
    model = build_on_meta(name)
    layers = darknet_layers(model)
    count = sum(numbers_of(layer) for layer in layers)
    assert size - 4 * count in (16, 20)  # the header
    parameters = {p for layer in layers for p in layer.parameters()}
    assert parameters == set(model.parameters())


def shape(layer):
    conv = layer.conv if isinstance(layer, ConvModule) else layer
    return conv.out_channels, conv.kernel_size[0]


def test_order_of_yolov2():
    layers = list(map(shape, darknet_layers(build_on_meta('yolov2_d19_8xb8-ms-160e_coco'))))
    assert len(layers) == 23
    assert layers[-6:] == [(1024, 3), (1024, 3), (1024, 3), (64, 1), (1024, 3), (425, 1)]


def test_order_of_yolov3():
    layers = list(map(shape, darknet_layers(build_on_meta('yolov3_d53_8xb8-320-273e_coco'))))
    block = [(512, 1), (1024, 3)] * 3
    assert len(layers) == 75
    assert layers[52:] == [
        *block, (255, 1), (256, 1),
        *[(256, 1), (512, 3)] * 3, (255, 1), (128, 1),
        *[(128, 1), (256, 3)] * 3, (255, 1),
    ]  # fmt: skip


def test_order_of_yolov4():
    layers = list(map(shape, darknet_layers(build_on_meta('yolov4_csp53_8xb8-mosaic-273e_coco'))))
    assert len(layers) == 110
    assert layers[:9] == [
        (32, 3), (64, 3), (64, 1), (64, 1), (32, 1), (64, 3), (64, 1), (64, 1), (128, 3),
    ]  # fmt: skip
    assert layers[72:] == [
        (512, 1), (1024, 3), (512, 1), (512, 1), (1024, 3), (512, 1), (256, 1), (256, 1),
        *[(256, 1), (512, 3)] * 2, (256, 1), (128, 1), (128, 1),
        *[(128, 1), (256, 3)] * 3, (255, 1),
        (256, 3), *[(256, 1), (512, 3)] * 3, (255, 1),
        (512, 3), *[(512, 1), (1024, 3)] * 3, (255, 1),
    ]  # fmt: skip


def test_pooling_in_mmdets_order_is_refused():
    model = nn.Module()
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        model.neck = MODELS.build(
            dict(
                type='mmlayerwise.YOLOV3SPPNeck',
                num_scales=1,
                in_channels=[8],
                out_channels=[4],
            )
        )
    with pytest.raises(UserError, match='joins its inputs in another order'):
        darknet_layers(model)
