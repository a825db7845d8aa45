import pytest
import torch
import torch.nn.functional as F

mmcv = pytest.importorskip('mmcv')
from mmcv.ops import ModulatedDeformConv2dPack, modulated_deform_conv2d  # noqa: E402

from .deformable_reference import Case, cases, convolve, tensors  # noqa: E402


def run(case: Case, input, offset, mask, weight, bias):
    return modulated_deform_conv2d(
        *(input, offset, mask, weight, bias, case.stride, case.padding, case.dilation),
        *(case.groups, case.deform_groups),
    )


@pytest.fixture
def bias():
    return torch.linspace(-1, 1, 8, dtype=torch.float64)


@pytest.mark.parametrize('case', cases, ids=str)
def test_equals_a_plain_loop(case, bias):
    values = tensors(case)
    expected = convolve(case, *values) + bias.view(1, -1, 1, 1)
    torch.testing.assert_close(run(case, *values, bias), expected)


@pytest.mark.parametrize('case', cases, ids=str)
def test_gradients_are_exact(case, bias):
    leaves = [tensor.requires_grad_() for tensor in (*tensors(case), bias)]
    assert torch.autograd.gradcheck(lambda *args: run(case, *args), leaves, fast_mode=True)


def test_without_bias_there_is_no_gradient_for_it():
    case = cases[1]
    leaves = [tensor.requires_grad_() for tensor in tensors(case)]
    output = run(case, *leaves, None)
    torch.testing.assert_close(output, convolve(case, *(leaf.detach() for leaf in leaves)))
    assert torch.autograd.gradcheck(lambda *args: run(case, *args, None), leaves, fast_mode=True)


def test_module_starts_as_half_an_ordinary_convolution():
    module = ModulatedDeformConv2dPack(4, 6, 3, padding=1, deform_groups=2).double()
    input = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    # Offsets start at zero and the modulation at sigmoid(0).
    expected = 0.5 * F.conv2d(input, module.weight, padding=1)
    torch.testing.assert_close(module(input), expected + module.bias.view(1, -1, 1, 1))


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_low_precision_rounds_once(dtype, tolerance, bias):
    case = cases[1]
    values = [tensor.to(dtype).requires_grad_() for tensor in (*tensors(case), bias)]
    output = run(case, *values)
    exact = [value.detach().double().requires_grad_() for value in values]
    expected = run(case, *exact)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, rtol=tolerance / 2, atol=tolerance / 8)
    references = torch.autograd.grad(expected.sum(), exact)
    for gradient, reference in zip(
        torch.autograd.grad(output.sum(), values), references, strict=True
    ):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), reference, rtol=tolerance, atol=tolerance)


def test_mask_of_the_wrong_shape_raises():
    input, offset, mask, weight = tensors(cases[0])
    with pytest.raises(ValueError, match=r'mask has shape \(1, 8, 5, 4\), expected \(1, 9, 5, 4\)'):
        run(cases[0], input, offset, mask[:, :8], weight, None)
