from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

mmcv = pytest.importorskip('mmcv')
from mmcv.ops import DeformConv2d, DeformConv2dPack, deform_conv2d  # noqa: E402

from mmlayerwise.ops import deformable, deformable_torchvision  # noqa: E402
from mmlayerwise.ops.deform_conv import deform_conv_forward  # noqa: E402

from .deformable_reference import Case, cases, convolve, tensors  # noqa: E402


def run(case: Case, input, offset, weight):
    return deform_conv2d(
        *(input, offset, weight, case.stride, case.padding, case.dilation),
        *(case.groups, case.deform_groups),
    )


@pytest.mark.parametrize('case', cases, ids=str)
def test_equals_a_plain_loop(case):
    input, offset, _, weight = tensors(case)
    expected = convolve(case, input, offset, None, weight)
    torch.testing.assert_close(run(case, input, offset, weight), expected)


@pytest.mark.parametrize('case', cases, ids=str)
def test_gradients_are_exact(case):
    input, offset, _, weight = (tensor.requires_grad_() for tensor in tensors(case))
    assert torch.autograd.gradcheck(
        lambda *args: run(case, *args), (input, offset, weight), fast_mode=True
    )


@pytest.mark.parametrize('case', cases, ids=str)
def test_without_offset_it_is_an_ordinary_convolution(case):
    input, offset, _, weight = tensors(case)
    expected = F.conv2d(input, weight, None, case.stride, case.padding, case.dilation, case.groups)
    torch.testing.assert_close(run(case, input, torch.zeros_like(offset), weight), expected)


@pytest.mark.parametrize('case', cases[:2], ids=str)
def test_bands_of_pixels_do_not_change_the_result(case):
    input, offset, _, weight = (tensor.requires_grad_() for tensor in tensors(case))
    whole = run(case, input, offset, weight)
    cotangent = torch.randn_like(whole)
    expected = torch.autograd.grad(whole, (input, offset, weight), cotangent)
    with patch.object(deformable, '_MAX_COLUMN_VALUES', 150):
        banded = run(case, input, offset, weight)
        gradients = torch.autograd.grad(banded, (input, offset, weight), cotangent)
    torch.testing.assert_close(banded, whole)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_low_precision_accumulates_in_float32(dtype, tolerance):
    case = cases[1]
    rounded = [tensor.to(dtype) for tensor in tensors(case)]
    input, offset, _, weight = (tensor.requires_grad_() for tensor in rounded)
    output = run(case, input, offset, weight)
    expected = convolve(
        case, *(tensor.detach().double() for tensor in (input, offset)), None, weight
    )
    assert output.dtype == dtype
    # One rounding of the result, not one per product.
    torch.testing.assert_close(output.double(), expected, rtol=tolerance / 2, atol=tolerance / 8)
    exact = [tensor.detach().double().requires_grad_() for tensor in (input, offset, weight)]
    references = torch.autograd.grad(run(case, *exact).sum(), exact)
    gradients = torch.autograd.grad(output.sum(), (input, offset, weight))
    for gradient, reference in zip(gradients, references, strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), reference, rtol=tolerance, atol=tolerance)


def test_autocast_does_not_lower_the_precision():
    case = cases[0]
    input, offset, _, weight = (tensor.float() for tensor in tensors(case))
    expected = run(case, input, offset, weight)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(run(case, input, offset, weight), expected)


def test_offsets_that_are_not_numbers_sample_zero():
    input, weight = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1)
    offset = torch.zeros(1, 2, 3, 3)
    offset[0, 0, 1, 1] = float('nan')
    offset[0, 1, 2, 2] = float('inf')
    expected = torch.ones(1, 1, 3, 3)
    expected[0, 0, [1, 2], [1, 2]] = 0
    assert torch.equal(deform_conv2d(input, offset, weight), expected)


def test_module_displaces_its_samples_by_learned_offsets():
    # The smallest case worked out by hand: all weight on the window's last point, displaced.
    model = DeformConv2dPack(1, 1, kernel_size=2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]]))
        model.conv_offset.bias.copy_(torch.tensor([0.0] * 6 + [-0.5, 0.25]))
    input = torch.tensor([[[[1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [3.0, 5.0, 2.0]]]]).double()
    # Point (1, 1) moves to (0.5, 1.25): 0.75 * (2 + 1) / 2 + 0.25 * (3 + 2) / 2 = 1.75, and so on.
    expected = torch.tensor([[[[1.75, 1.875], [3.0 * 0.75 + 2.0 * 0.25, 1.5]]]]).double()
    torch.testing.assert_close(model(input), expected)


def test_input_smaller_than_the_kernel_is_padded_by_the_module():
    module = DeformConv2d(2, 3, 3, padding=1).double()
    input = torch.randn(1, 2, 2, 2).double()
    offset = torch.zeros(1, 18, 2, 2).double()
    expected = F.conv2d(input, module.weight, padding=1)
    torch.testing.assert_close(module(input, offset), expected)


def test_empty_batch_gives_an_empty_output_and_zero_gradients():
    geometry = deformable.Geometry((3, 3), (1, 1), (1, 1), (1, 1), 1, 1)
    input, offset, weight = torch.ones(0, 2, 5, 5), torch.ones(0, 18, 5, 5), torch.ones(4, 2, 3, 3)
    assert deformable.forward(input, offset, None, weight, geometry).shape == (0, 4, 5, 5)
    gradients = deformable.backward(input, offset, None, weight, torch.ones(0, 4, 5, 5), geometry)
    assert gradients.input.shape == input.shape
    assert torch.equal(gradients.weight, torch.zeros_like(weight))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'offset': torch.zeros(1, 16, 5, 5)}, r'offset has shape .*expected \(1, 18, 5, 5\)'),
        ({'offset': torch.zeros(1, 18, 4, 5)}, r'offset has shape .*expected \(1, 18, 5, 5\)'),
        ({'offset': torch.zeros(2, 18, 5, 5)}, r'offset has shape .*expected \(1, 18, 5, 5\)'),
        ({'input': torch.zeros(1, 3, 5, 5)}, '3 channels does not fit'),
        ({'deformable_group': 3}, 'not divisible by deform_groups=3'),
        ({'kH': 1}, r'kernel size \(1, 3\) does not fit'),
        ({'padH': -2}, 'too small'),
    ],
)
def test_shapes_that_do_not_fit_raise(change, message):
    given = {
        'input': torch.zeros(1, 2, 5, 5),
        'weight': torch.zeros(4, 2, 3, 3),
        'offset': torch.zeros(1, 18, 5, 5),
        'output': torch.zeros(1, 4, 5, 5),
        **dict.fromkeys(('columns', 'ones'), torch.zeros(0)),
        **dict.fromkeys(('kH', 'kW'), 3),
        **dict.fromkeys(('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW'), 1),
        **dict.fromkeys(('group', 'deformable_group', 'im2col_step'), 1),
    }
    with pytest.raises(ValueError, match=message):
        deform_conv_forward(**{**given, **change})


@pytest.mark.parametrize('case', cases, ids=str)
def test_torchvision_takes_over_where_it_serves(case):
    """An operator with torchvision's signature receives what torchvision documents."""
    calls = []

    def operator(input, offset, weight, bias=None, stride=1, padding=0, dilation=1, mask=None):
        calls.append(input.dtype)
        geometry = deformable.Geometry(
            *(tuple(weight.shape[2:]), stride, padding, dilation),
            groups=input.shape[1] // weight.shape[1],
            deform_groups=offset.shape[1] // (2 * weight[0, 0].numel()),
        )
        assert (geometry.groups, geometry.deform_groups) == (case.groups, case.deform_groups)
        return _Differentiable.apply(input, offset, weight, geometry)

    input, offset, _, weight = (tensor.requires_grad_() for tensor in tensors(case))
    expected = run(case, input, offset, weight)
    cotangent = torch.randn_like(expected)
    references = torch.autograd.grad(expected, (input, offset, weight), cotangent)
    with patch.object(deformable_torchvision, 'torchvision_operator', lambda *_: operator):
        output = run(case, input, offset, weight)
        gradients = torch.autograd.grad(output, (input, offset, weight), cotangent)
    assert calls == [torch.float64] * 3  # forward, and once for each half of mmcv's backward
    torch.testing.assert_close(output, expected)
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference)


class _Differentiable(torch.autograd.Function):
    """The PyTorch implementation as one differentiable function, in torchvision's place."""

    @staticmethod
    def forward(ctx, input, offset, weight, geometry):
        ctx.save_for_backward(input, offset, weight)
        ctx.geometry = geometry
        with patch.object(deformable_torchvision, 'serves', lambda _: False):
            return deformable.forward(input, offset, None, weight, geometry)

    @staticmethod
    def backward(ctx, grad_output):
        input, offset, weight = ctx.saved_tensors
        with patch.object(deformable_torchvision, 'serves', lambda _: False):
            gradients = deformable.backward(input, offset, None, weight, grad_output, ctx.geometry)
        return gradients.input, gradients.offset, gradients.weight, None


def test_equals_installed_torchvision():
    operator = deformable_torchvision.torchvision_operator('deform_conv2d', 'cpu')
    if operator is None:
        pytest.skip('torchvision with compiled operators is not installed')
    case = cases[1]
    input, offset, _, weight = tensors(case)
    expected = operator(input, offset, weight, None, case.stride, case.padding, case.dilation)
    with patch.object(deformable_torchvision, 'serves', lambda _: False):
        torch.testing.assert_close(run(case, input, offset, weight), expected)
