import pytest
import torch
from torch.nn.functional import interpolate

from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')
from mmlayerwise.models.decode_heads import GCNHead


@pytest.mark.parametrize(('kernel_size', 'parameters'), [(7, 1_225_812), (15, 2_544_276)])
def test_parameters(kernel_size, parameters):
    with meta_device():
        head = GCNHead([256, 512, 1024, 2048], num_classes=21, kernel_size=kernel_size)
    assert sum(p.numel() for p in head.parameters()) == parameters


@torch.no_grad()
def test_scores_are_summed_from_coarse_to_fine():
    torch.manual_seed(0)
    head = GCNHead([2, 3, 4], num_classes=5, kernel_size=3).double()
    for name, parameter in head.named_parameters():
        if 'refinements' in name:
            parameter.zero_()
    maps = [torch.randn(1, 2 + i, 8 >> i, 12 >> i, dtype=torch.float64) for i in range(3)]
    fine, middle, coarse = (g(m) for g, m in zip(head.global_convolutions, maps, strict=True))
    expected = coarse
    for addend in (middle, fine, 0, 0):
        expected = interpolate(expected, scale_factor=2, mode='bilinear') + addend
    torch.testing.assert_close(head(maps), expected)
