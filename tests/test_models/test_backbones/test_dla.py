import pytest
import torch

pytest.importorskip('mmdet')

from mmlayerwise.models.backbones import DLANet
from mmlayerwise.models.backbones.dla import DLATree
from mmlayerwise.utils.meta_device import meta_device


def conv(inputs, outputs, kernel):
    """Parameters of a convolution and its normalisation."""
    return inputs * outputs * kernel**2 + 2 * outputs


def block(inputs, outputs):
    return conv(inputs, outputs, 3) + conv(outputs, outputs, 3)


def test_parameters_are_those_of_dla34():
    """15,742,104 with its classifier of 1000 classes."""
    expected = conv(3, 16, 7) + conv(16, 16, 3) + conv(16, 32, 3)
    # Two blocks and a root; the stages of strides 8 to 32 give it their pooled input.
    expected += block(32, 64) + block(64, 64) + conv(128, 64, 1) + conv(32, 64, 1)
    for inputs, outputs in ((64, 128), (128, 256)):
        left = block(inputs, outputs) + block(outputs, outputs) + conv(2 * outputs, outputs, 1)
        right = 2 * block(outputs, outputs) + conv(3 * outputs + inputs, outputs, 1)
        expected += left + right + conv(inputs, outputs, 1)
    expected += block(256, 512) + block(512, 512) + conv(2 * 512 + 256, 512, 1)
    expected += conv(256, 512, 1)
    with meta_device():
        backbone = DLANet()
    assert sum(p.numel() for p in backbone.parameters()) == expected
    assert expected + 512 * 1000 + 1000 == 15_742_104


def test_levels_halve_the_map():
    with meta_device():
        shapes = [tuple(x.shape) for x in DLANet()(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6), (1, 512, 2, 3)]


@torch.no_grad()
def test_roots_join_what_they_should():
    torch.manual_seed(0)
    tree = DLATree(2, 4, 6, stride=2, level_root=True).eval()
    x = torch.randn(1, 4, 8, 8)
    pooled = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    first = tree.left
    a = first.left(x, first.project(pooled))
    b = first.right(a, a)
    joined = first.root(torch.cat([b, a], 1))
    second = tree.right
    c = second.left(joined, joined)
    d = second.right(c, c)
    expected = second.root(torch.cat([d, c, pooled, joined], 1))
    torch.testing.assert_close(tree(x), expected)


def test_six_levels_are_asked_for():
    with pytest.raises(ValueError, match='must be of six levels'):
        DLANet(channels=(8, 16))
