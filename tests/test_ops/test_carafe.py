from unittest.mock import patch

import pytest
import torch

mmcv = pytest.importorskip('mmcv')
from mmcv.ops import CARAFE, CARAFENaive, CARAFEPack  # noqa: E402

from mmlayerwise.ops import carafe as operator  # noqa: E402

KERNEL, GROUPS, SCALE = 3, 2, 2


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, 3, 4, generator=generator, dtype=torch.float64)
    masks = torch.rand(2, GROUPS * KERNEL**2, 6, 8, generator=generator, dtype=torch.float64)
    return features.requires_grad_(), masks.requires_grad_()


def reassemble(features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Sum the window of every output value."""
    batch, channels, height, width = features.shape
    output = features.new_zeros(batch, channels, height * SCALE, width * SCALE)
    for channel, row, column, i, j in torch.cartesian_prod(
        *(torch.arange(size) for size in (*output.shape[1:], KERNEL, KERNEL))
    ).tolist():
        y, x = row // SCALE + i - KERNEL // 2, column // SCALE + j - KERNEL // 2
        if 0 <= y < height and 0 <= x < width:
            group = channel // (channels // GROUPS)
            weight = masks[:, (group * KERNEL + i) * KERNEL + j, row, column]
            output[:, channel, row, column] += weight * features[:, channel, y, x]
    return output


@pytest.mark.parametrize('module', [CARAFE, CARAFENaive])
def test_equals_a_plain_loop(module, inputs):
    features, masks = (tensor.detach() for tensor in inputs)
    output = module(KERNEL, GROUPS, SCALE)(features, masks)
    torch.testing.assert_close(output, reassemble(features, masks))


def test_gradients_are_exact(inputs):
    assert torch.autograd.gradcheck(CARAFE(KERNEL, GROUPS, SCALE), inputs, fast_mode=True)


def test_naive_gradients_equal_the_other_variant(inputs):
    # mmcv's function asserts CUDA before it calls the operator, so this calls the operator itself.
    output = CARAFE(KERNEL, GROUPS, SCALE)(*inputs)
    cotangent = torch.randn_like(output)
    expected = torch.autograd.grad(output, inputs, cotangent)
    features, masks = (tensor.detach() for tensor in inputs)
    gradients = torch.zeros_like(features), torch.zeros_like(masks)
    operator.carafe_naive_backward(
        cotangent,
        features,
        masks,
        *gradients,
        kernel_size=KERNEL,
        group_size=GROUPS,
        scale_factor=SCALE,
    )
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference)


def test_bands_of_rows_do_not_change_the_result(inputs):
    module = CARAFE(KERNEL, GROUPS, SCALE)
    whole = module(*inputs)
    expected = torch.autograd.grad(whole.square().sum(), inputs)
    with patch.object(operator, '_MAX_TAPS', 300):
        banded = module(*inputs)
        gradients = torch.autograd.grad(banded.square().sum(), inputs)
    torch.testing.assert_close(banded, whole)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_low_precision_rounds_once(inputs, dtype, tolerance):
    values = [tensor.detach().to(dtype).requires_grad_() for tensor in inputs]
    exact = [value.detach().double().requires_grad_() for value in values]
    module = CARAFE(KERNEL, GROUPS, SCALE)
    output, expected = module(*values), module(*exact)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, rtol=tolerance / 2, atol=tolerance / 8)
    references = torch.autograd.grad(expected.sum(), exact)
    gradients = torch.autograd.grad(output.sum(), values)
    for gradient, reference in zip(gradients, references, strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), reference, rtol=tolerance, atol=tolerance)


def test_upsampler_of_a_constant_map_keeps_it_away_from_the_border():
    upsampler = CARAFEPack(channels=4, scale_factor=2, up_kernel=3)
    output = upsampler(torch.full((1, 4, 5, 5), 3.0))  # weights sum to one by softmax
    torch.testing.assert_close(output[..., 2:-2, 2:-2], torch.full((1, 4, 6, 6), 3.0))
    assert (output[..., 0, 0] < 3).all()  # zeros beyond the border


def test_empty_batch():
    output = CARAFE(KERNEL, GROUPS, SCALE)(torch.zeros(0, 4, 3, 4), torch.zeros(0, 18, 6, 8))
    assert output.shape == (0, 4, 6, 8)


def test_masks_of_the_wrong_size_raise(inputs):
    with pytest.raises(AssertionError):
        CARAFE(5, GROUPS, SCALE)(*inputs)
