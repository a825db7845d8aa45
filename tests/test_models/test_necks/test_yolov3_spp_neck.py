import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet')

from mmdet.models.necks.yolo_neck import YOLOV3Neck

from mmlayerwise.models.necks import YOLOV3SPPNeck


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_the_published_size():
    widths = dict(num_scales=3, in_channels=[1024, 512, 256], out_channels=[512, 256, 128])
    with torch.device('meta'):
        plain, neck = YOLOV3Neck(**widths), YOLOV3SPPNeck(**widths)
    assert parameters(plain) == 14_709_760
    # One 1x1 convolution of 2048 to 512 channels and its normalisation.
    assert parameters(neck) - parameters(plain) == 2048 * 512 + 2 * 512


def test_coarsest_level_pools_around_every_place():
    torch.manual_seed(0)
    neck = YOLOV3SPPNeck(2, [16, 8], [8, 4], kernel_sizes=(3, 5)).eval()
    coarse, fine = torch.randn(1, 16, 6, 6), torch.randn(1, 8, 12, 12)
    block = neck.detect1
    third = block.conv3.conv1(block.conv2(block.conv1(coarse)))
    pooled = [
        F.max_pool2d(F.pad(third, [size // 2] * 4, value=-torch.inf), size, stride=1)
        for size in (3, 5)
    ]
    expected = block.conv3.conv2(torch.cat([third, *pooled], 1))
    expected = block.conv5(block.conv4(expected))
    levels = neck((fine, coarse))
    torch.testing.assert_close(levels[0], expected)
    assert levels[1].shape == (1, 4, 12, 12)
