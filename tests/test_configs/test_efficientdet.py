"""Sizes of EfficientDet-D0 to D7, recomputed from the tables of the two papers."""

import math

import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.registry import TASK_UTILS, DefaultScope

from mmlayerwise.utils.meta_device import meta_device
from mmlayerwise.zoo import load_zoo
from tests.zoo.configs import build, load_config, without_pretraining

ROWS = {
    int(model.name[len('efficientdet-d')]): model
    for system in load_zoo()
    if system.id == 'D19'
    for model in system.models
}
# EfficientNet, table 1: kernel size, stride, expansion, channels, layers of stages 2 to 8.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# Width and depth of B0 to B6.
SCALES = ((1, 1), (1, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6))
# EfficientDet, table 1: input size, backbone, channels and cells of the BiFPN, layers of the
# heads; table 2: millions of parameters.
DETECTORS = {
    0: (512, 0, 64, 3, 3, 3.9),
    1: (640, 1, 88, 4, 3, 6.6),
    2: (768, 2, 112, 5, 3, 8.1),
    3: (896, 3, 160, 6, 4, 12),
    4: (1024, 4, 224, 7, 4, 21),
    5: (1280, 5, 288, 7, 4, 34),
    6: (1280, 6, 384, 8, 5, 52),
    7: (1536, 6, 384, 8, 5, 52),
}


def round_channels(channels):
    """To a multiple of 8 that is not below 90 percent."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def backbone_parameters(width, depth):
    """Parameters up to the last stage, and channels of the last stage of strides 8, 16, 32."""
    channels = round_channels(32 * width)
    total, taps, total_stride = 27 * channels + 2 * channels, {}, 2
    for kernel, first_stride, expansion, out, layers in STAGES:
        total_stride *= first_stride
        for _ in range(math.ceil(layers * depth)):
            middle = channels * expansion
            if expansion > 1:
                total += channels * middle + 2 * middle
            total += kernel**2 * middle + 2 * middle
            squeezed = channels // 4
            total += 2 * middle * squeezed + squeezed + middle
            channels = round_channels(out * width)
            total += middle * channels + 2 * channels
        taps[total_stride] = channels
    return total, [taps[8], taps[16], taps[32]]


def expected_parameters(number, num_classes):
    _, backbone, width, cells, layers, _ = DETECTORS[number]
    total, taps = backbone_parameters(*SCALES[backbone])

    def separable(channels, outputs):
        return 9 * channels + channels * outputs + outputs

    for tap in (*taps, *taps[1:], taps[-1]):  # P3 to P5 down, P4 and P5 up, P6
        total += tap * width + width + 2 * width
    total += cells * 8 * (separable(width, width) + 2 * width)
    if number < 6:
        total += cells * (4 * 2 + 3 * 3 + 2)
    for outputs in (9 * num_classes, 9 * 4):
        total += layers * separable(width, width) + 5 * layers * 2 * width
        total += separable(width, outputs)
    return total


def count(model, num_classes):
    config = load_config(model)
    config.model.bbox_head.num_classes = num_classes
    with meta_device():
        detector = build(without_pretraining(config), 'mmdet')
    return sum(parameter.numel() for parameter in detector.parameters())


def test_every_size_is_there():
    assert ROWS.keys() == DETECTORS.keys()


@pytest.mark.parametrize('number', DETECTORS)
def test_parameters_follow_from_the_tables(number):
    expected = expected_parameters(number, 80)
    assert ROWS[number].parameters == expected
    millions = DETECTORS[number][-1]
    assert round(expected / 1e6, 1 if millions < 10 else None) == millions
    if number in (0, 6):
        assert count(ROWS[number], 80) == expected


def test_parameters_with_the_authors_90_classes():
    assert count(ROWS[0], 90) == expected_parameters(0, 90) == 3_880_067


@pytest.mark.parametrize('number', DETECTORS)
def test_size_of_images_is_the_papers_everywhere(number):
    size = DETECTORS[number][0]
    config = load_config(ROWS[number])
    assert config.model.data_preprocessor.pad_size_divisor == size
    steps = {step.type: step for step in config.train_dataloader.dataset.pipeline}
    assert tuple(steps['RandomResize'].scale) == (size, size)
    assert tuple(steps['RandomCrop'].crop_size) == (size, size)
    for loader in (config.val_dataloader, config.test_dataloader):
        (resize,) = [step for step in loader.dataset.pipeline if step.type == 'Resize']
        assert tuple(resize.scale) == (size, size)


@pytest.mark.parametrize(('number', 'expected'), [(0, 49_104), (2, 110_484)])
def test_number_of_anchors(number, expected):
    config = load_config(ROWS[number])
    with DefaultScope.overwrite_default_scope('mmdet'):
        generator = TASK_UTILS.build(config.model.bbox_head.anchor_generator)
    size = DETECTORS[number][0]
    levels = generator.grid_priors(
        [(size // s, size // s) for s, _ in generator.strides], device='cpu'
    )
    assert sum(map(len, levels)) == expected
    # The first anchor of P3: a square of 4 strides around the centre of the first cell.
    assert levels[0][0].tolist() == [4 - 16, 4 - 16, 4 + 16, 4 + 16]


def test_backbone_taps_and_padding():
    """Stages of strides 8, 16 and 32 with 40, 112 and 320 channels; SAME padding."""
    config = without_pretraining(load_config(ROWS[0]))
    with meta_device():
        backbone = build(config.backbone, 'mmdet')
        shapes = [tuple(x.shape) for x in backbone(torch.zeros(1, 3, 128, 96))]
    assert shapes == [(1, 40, 16, 12), (1, 112, 8, 6), (1, 320, 4, 3)]
    convs = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    strided = [conv for conv in convs if conv.stride == (2, 2)]
    assert len(strided) == 5
    conv = type(strided[0])(1, 1, 3, stride=2, padding=1, bias=False)
    torch.nn.init.ones_(conv.weight)
    # An even side is padded at its end alone: the first window has no padding.
    assert conv(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9, 6], [6, 4]]
