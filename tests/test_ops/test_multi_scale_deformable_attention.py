from unittest.mock import patch

import pytest
import torch

mmcv = pytest.importorskip('mmcv')
from mmcv.ops.multi_scale_deform_attn import (  # noqa: E402
    MultiScaleDeformableAttention,
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

from mmlayerwise.ops import multi_scale_deformable_attention as operator  # noqa: E402

from .bilinear_reference import interpolate  # noqa: E402

SHAPES = torch.tensor([[4, 3], [2, 5]])
STARTS = torch.tensor([0, 12])


@pytest.fixture
def inputs():
    """Values of two heads of three channels, points within and beyond the map, weights."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 22, 2, 3, generator=generator, dtype=torch.float64)
    locations = torch.rand(2, 5, 2, 2, 3, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(2, 5, 2, 2, 3, generator=generator, dtype=torch.float64)
    return value, locations, weights


def attend(value, locations, weights):
    return MultiScaleDeformableAttnFunction.apply(value, SHAPES, STARTS, locations, weights, 64)


def test_equals_a_plain_loop(inputs):
    value, locations, weights = inputs
    expected = torch.zeros(2, 5, 2, 3, dtype=torch.float64)
    for n, query, head, level, point in torch.cartesian_prod(
        *(torch.arange(size) for size in weights.shape)
    ).tolist():
        height, width = SHAPES[level].tolist()
        pixels = value[n, STARTS[level] : STARTS[level] + height * width, head]
        image = pixels.T.reshape(3, height, width)
        x, y = locations[n, query, head, level, point].tolist()
        sample = interpolate(image, y * height - 0.5, x * width - 0.5)
        expected[n, query, head] += weights[n, query, head, level, point] * sample
    torch.testing.assert_close(attend(*inputs), expected.flatten(2))


def test_gradients_are_exact(inputs):
    leaves = [tensor.requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


def test_bands_of_queries_do_not_change_the_result(inputs):
    leaves = [tensor.requires_grad_() for tensor in inputs]
    whole = attend(*leaves)
    expected = torch.autograd.grad(whole.square().sum(), leaves)
    with patch.object(operator, '_MAX_TAPS', 100):
        banded = attend(*leaves)
        gradients = torch.autograd.grad(banded.square().sum(), leaves)
    torch.testing.assert_close(banded, whole)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_low_precision_rounds_once(inputs, dtype, tolerance):
    values = [tensor.to(dtype).requires_grad_() for tensor in inputs]
    exact = [value.detach().double().requires_grad_() for value in values]
    output, expected = attend(*values), attend(*exact)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, rtol=tolerance / 2, atol=tolerance / 8)
    references = torch.autograd.grad(expected.sum(), exact)
    gradients = torch.autograd.grad(output.sum(), values)
    for gradient, reference in zip(gradients, references, strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), reference, rtol=tolerance, atol=tolerance)


def test_serves_the_module(inputs):
    """On CUDA the module calls the operator; on the CPU a function of mmcv, to agree with."""
    value, locations, weights = inputs
    expected = multi_scale_deformable_attn_pytorch(value, SHAPES, locations, weights)
    torch.testing.assert_close(attend(*inputs), expected)
    module = MultiScaleDeformableAttention(8, num_heads=2, num_levels=2, num_points=3, dropout=0)
    query, key = torch.randn(5, 2, 8), torch.randn(22, 2, 8)
    reference_points = torch.rand(2, 5, 2, 2)
    keywords = {
        'reference_points': reference_points,
        'spatial_shapes': SHAPES,
        'level_start_index': STARTS,
    }
    in_pytorch = module(query, value=key, **keywords)
    with patch(
        'mmcv.ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch',
        lambda value, shapes, locations, weights: attend(value, locations, weights),
    ):
        torch.testing.assert_close(module(query, value=key, **keywords), in_pytorch)


def test_no_queries_give_an_empty_output_and_zero_gradients(inputs):
    value, locations, weights = inputs
    value.requires_grad_()
    output = attend(value, locations[:, :0], weights[:, :0])
    assert output.shape == (2, 0, 6)
    assert torch.equal(torch.autograd.grad(output.sum(), value)[0], torch.zeros_like(value))
