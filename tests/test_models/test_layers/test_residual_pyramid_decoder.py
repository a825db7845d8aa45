import pytest
import torch
from torch.nn.functional import interpolate

pytest.importorskip('mmseg')
from mmlayerwise.models.layers.residual_pyramid_decoder import ResidualPyramidDecoder


@torch.no_grad()
def test_sums_are_refined_from_coarse_to_fine():
    torch.manual_seed(0)
    decoder = ResidualPyramidDecoder((3, 5), 8, dict(type='BN')).double().eval()
    fine = torch.randn(1, 3, 9, 11, dtype=torch.float64)
    coarse = torch.randn(1, 5, 5, 6, dtype=torch.float64)
    average = coarse.mean((2, 3))[0]
    weight, bias = decoder.context.conv.weight[:, :, 0, 0], decoder.context.conv.bias
    context = (weight @ average + bias).relu()[None, :, None, None]
    second = decoder.blocks[1](decoder.laterals[1](coarse) + context)
    enlarged = interpolate(second, (9, 11), mode='bilinear', align_corners=False)
    first = decoder.blocks[0](decoder.laterals[0](fine) + enlarged)
    for actual, expected in zip(decoder((fine, coarse)), (first, second), strict=True):
        torch.testing.assert_close(actual, expected)


def test_single_images_train():
    decoder = ResidualPyramidDecoder((3, 5), 8, dict(type='BN'))
    maps = (torch.randn(1, 3, 8, 8), torch.randn(1, 5, 4, 4))
    sum(one.square().mean() for one in decoder(maps)).backward()
    assert all(p.grad.any() for p in decoder.parameters())
