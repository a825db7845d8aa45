import torch
from torch.nn import functional as F

from mmlayerwise.models.layers.refinement import (
    ChainedResidualPooling,
    RefineNetBlock,
    ResidualConvUnit,
)


@torch.no_grad()
def test_unit_adds_a_residual():
    unit = ResidualConvUnit(2).double()
    for conv in (unit.first, unit.second):
        conv.weight.zero_()
        conv.weight[:, :, 1, 1] = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    unit.first.bias.copy_(torch.tensor([0.5, 3.0]))
    inputs = torch.tensor([1.0, -2.0]).double().reshape(1, 2, 1, 1)
    # relu (1, 0) -> first (1.5, 3) -> relu -> second (7.5, -3).
    assert unit(inputs).flatten().tolist() == [8.5, -5.0]
    assert inputs.flatten().tolist() == [1.0, -2.0]


@torch.no_grad()
def test_chain_sums_windows_of_growing_size():
    pooling = ChainedResidualPooling(1, num_poolings=3, kernel_size=3)
    for index, conv in enumerate(pooling.convs):
        conv.weight.zero_()
        conv.weight[0, 0, 1, 1] = 10 if index == 0 else 1
    inputs = torch.full((1, 1, 9, 9), -1.0)
    inputs[..., 4, 4] = 2
    expected = torch.zeros(9, 9)
    expected[4, 4] = 2  # rectified
    for radius in (1, 2, 3):
        expected[4 - radius : 5 + radius, 4 - radius : 5 + radius] += 20
    assert torch.equal(pooling(inputs)[0, 0], expected)


@torch.no_grad()
def test_block_fuses_pools_and_refines():
    torch.manual_seed(0)
    block = RefineNetBlock(3, 4, coarse_channels=5, num_poolings=2).double()
    fine, coarse = torch.randn(2, 3, 7, 9).double(), torch.randn(2, 5, 4, 5).double()

    def convolve(inputs, conv):
        return F.conv2d(inputs, conv.weight, conv.bias, padding=1)

    def add_residuals(inputs, units):
        for unit in units:
            hidden = convolve(inputs.clamp(min=0), unit.first)
            inputs = inputs + convolve(hidden.clamp(min=0), unit.second)
        return inputs

    own = convolve(add_residuals(convolve(fine, block.reduce), block.adapt), block.fuse_fine)
    other = F.interpolate(convolve(coarse, block.fuse_coarse), (7, 9), mode='bilinear')
    fused = (own + other).clamp(min=0)
    once, twice = block.pooling.convs
    first = convolve(F.max_pool2d(fused, 5, 1, 2), once)
    second = convolve(F.max_pool2d(first, 5, 1, 2), twice)
    expected = add_residuals(fused + first + second, block.refine)
    torch.testing.assert_close(block(fine, coarse), expected)
    assert (len(block.adapt), len(block.refine)) == (2, 3)
