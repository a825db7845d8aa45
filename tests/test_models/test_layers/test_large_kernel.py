import pytest
import torch
from torch.nn import functional

from mmlayerwise.models.layers.large_kernel import BoundaryRefinement, GlobalConvolution


@torch.no_grad()
def test_pairs_are_one_large_kernel():
    torch.manual_seed(0)
    layer = GlobalConvolution(3, 4, 5).double()
    for convolution in (*layer.vertical_first, *layer.horizontal_first):
        convolution.bias.zero_()
    horizontal = torch.einsum(
        'mcj,omi->ocij',
        layer.horizontal_first[0].weight[:, :, 0],
        layer.horizontal_first[1].weight[..., 0],
    )
    vertical = torch.einsum(
        'mci,omj->ocij',
        layer.vertical_first[0].weight[..., 0],
        layer.vertical_first[1].weight[:, :, 0],
    )
    inputs = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    expected = functional.conv2d(inputs, vertical + horizontal, padding=2)
    torch.testing.assert_close(layer(inputs), expected)


@torch.no_grad()
def test_refinement_adds_a_residual():
    layer = BoundaryRefinement(2).double()
    for index in (0, 2):
        layer.residual[index].weight.zero_()
        layer.residual[index].weight[:, :, 1, 1] = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
        layer.residual[index].bias.copy_(torch.tensor([0.5, 0.0]))
    inputs = torch.tensor([1.0, -2.0]).double().reshape(1, 2, 1, 1)
    # First (1 - 4 + 0.5, 2) -> relu (0, 2), then (4.5, -2).
    assert layer(inputs).flatten().tolist() == [5.5, -4.0]


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match='kernel_size must be odd, but is 4'):
        GlobalConvolution(2, 2, 4)
