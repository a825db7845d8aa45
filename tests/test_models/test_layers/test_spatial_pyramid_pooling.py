import torch
from torch.nn import functional as F

from mmlayerwise.models.layers.pre_activated_conv import PreActivatedConv
from mmlayerwise.models.layers.spatial_pyramid_pooling import SpatialPyramidPooling


def test_unit_is_normalisation_relu_and_convolution():
    torch.manual_seed(0)
    unit = PreActivatedConv(3, 5, 3).double()
    inputs = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    mean = inputs.mean((0, 2, 3), keepdim=True)
    variance = inputs.var((0, 2, 3), unbiased=False, keepdim=True)
    activated = ((inputs - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
    assert [name for name, _ in unit.named_parameters()] == ['conv.weight', 'bn.weight', 'bn.bias']
    torch.testing.assert_close(unit(inputs), F.conv2d(activated, unit.conv.weight, padding=1))


@torch.no_grad()
def test_grids_average_square_cells():
    torch.manual_seed(0)
    pooling = SpatialPyramidPooling(3, 4, grids=(2, 1), level_channels=2).double().eval()
    inputs = torch.randn(1, 3, 4, 8, dtype=torch.float64)

    def unit(module, x):  # fresh statistics: mean 0 and variance 1
        return F.conv2d((x / (1 + 1e-5) ** 0.5).clamp(min=0), module.conv.weight)

    maps = [inputs]
    # A map twice as wide as high: cells of 2x2 pixels, then of 4x4.
    for level, side in zip(pooling.levels, (2, 4), strict=True):
        cells = inputs.unfold(2, side, side).unfold(3, side, side).mean((4, 5))
        maps.append(F.interpolate(unit(level, cells), (4, 8), mode='bilinear'))
    torch.testing.assert_close(pooling(inputs), unit(pooling.fuse, torch.cat(maps, 1)))


def test_narrow_maps_keep_a_column():
    pooling = SpatialPyramidPooling(3, 4, grids=(2,), level_channels=2).eval()
    assert pooling(torch.randn(1, 3, 16, 2)).shape == (1, 4, 16, 2)
