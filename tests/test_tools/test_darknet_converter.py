import struct

import pytest
import torch

pytest.importorskip('mmdet')

from tests.test_tools.tools import ROOT, load_tool

CONFIG = """
default_scope = 'mmdet'
custom_imports = dict(imports=['mmlayerwise'])
model = dict(
    type='SingleStageDetector',
    backbone=dict(type='mmlayerwise.YOLOv1Darknet', out_indices=(1,)),
    neck=dict(type='mmlayerwise.PassthroughNeck', in_channels=(4, 192)),
    bbox_head=dict(type='mmlayerwise.YOLOv2Head', num_classes=2),
)
"""
SMALL = [
    'model.neck.out_channels=4',
    'model.neck.passthrough_channels=4',
    'model.bbox_head.in_channels=20',
    'model.bbox_head.feat_channels=4',
]


@pytest.fixture
def convert(tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG)
    tool = load_tool('model_converters/darknet')

    def run(source, target, *options):
        arguments = [tmp_path / 'config.py', tmp_path / source, tmp_path / target, *options]
        tool.main([str(a) for a in arguments] + ['--cfg-options', *SMALL])

    return run


def test_there_and_back(convert, tmp_path, capsys):
    backbone = (64 * 3 * 49 + 64) + (192 * 64 * 9 + 192)
    neck = (192 * 4 * 9 + 16) + (4 * 4 * 9 + 16) + (4 * 4 + 16)
    head = (20 * 4 * 9 + 16) + (4 + 1) * 5 * 7
    count = backbone + neck + head
    content = struct.pack('<3iq', 0, 2, 5, 6400) + struct.pack(f'<{count}f', *range(count))
    (tmp_path / 'net.weights').write_bytes(content)
    convert('net.weights', 'net.pth')
    checkpoint = torch.load(tmp_path / 'net.pth', weights_only=True)
    assert checkpoint['state_dict']['backbone.conv1.conv.bias'].tolist() == list(range(64))
    assert checkpoint['state_dict']['bbox_head.images_seen'] == 6400
    convert('net.pth', 'again.weights')
    assert (tmp_path / 'again.weights').read_bytes() == content
    assert 'again.weights' in capsys.readouterr().out


def test_wrong_file_ends_with_a_message(convert, tmp_path):
    (tmp_path / 'net.weights').write_bytes(struct.pack('<3iq2f', 0, 2, 5, 6400, 1, 2))
    with pytest.raises(SystemExit, match='has 2 numbers, the model of the config'):
        convert('net.weights', 'net.pth')
    assert not (tmp_path / 'net.pth').exists()


def test_missing_file_ends_with_a_message(convert):
    with pytest.raises(SystemExit, match='does not exist'):
        convert('gone.weights', 'net.pth')


def test_two_checkpoints_are_refused(convert, capsys):
    with pytest.raises(SystemExit):
        convert('a.pth', 'b.pth')
    assert 'exactly one of source and target' in capsys.readouterr().err


def test_help_gives_an_example():
    tool = load_tool('model_converters/darknet')
    assert 'yolov4.weights yolov4.pth' in tool.EXAMPLES
    assert (ROOT / 'configs/yolov4/yolov4_csp53_8xb8-mosaic-273e_coco.py').is_file()
