"""The operators that sample feature maps give the same on CUDA as on the CPU."""

import pytest
import torch

mmcv = pytest.importorskip('mmcv')
from mmcv.ops import (  # noqa: E402
    PSAMask,
    carafe,
    deform_conv2d,
    deform_roi_pool,
    masked_conv2d,
    modulated_deform_conv2d,
)
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction  # noqa: E402


def attend(value, locations, weights):
    shapes = torch.tensor([[4, 3], [2, 5]], device=value.device)
    starts = torch.tensor([0, 12], device=value.device)
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)


def pool(maps, offsets):
    rois = maps.new_tensor([[0, 1, 2, 9, 8], [1, -2, 0, 5, 11]])
    return deform_roi_pool(maps, rois, offsets, (2, 3), 0.5, 0, 0.1)


# Each function with the shapes of its differentiable arguments.
OPERATORS = {
    'deform_conv2d': (
        lambda *args: deform_conv2d(*args, 1, 1, 1, 2, 2),
        [(2, 4, 5, 6), (2, 36, 5, 6), (6, 2, 3, 3)],
    ),
    'modulated_deform_conv2d': (
        lambda *args: modulated_deform_conv2d(*args, 1, 1, 1, 2, 2),
        [(2, 4, 5, 6), (2, 36, 5, 6), (2, 18, 5, 6), (6, 2, 3, 3), (6,)],
    ),
    'ms_deform_attn': (attend, [(2, 22, 2, 3), (2, 5, 2, 2, 3, 2), (2, 5, 2, 2, 3)]),
    'psa_mask': (PSAMask('distribute', (3, 5)), [(2, 15, 4, 3)]),
    'carafe': (lambda *args: carafe(*args, 3, 2, 2), [(2, 4, 3, 4), (2, 18, 6, 8)]),
    'deform_roi_pool': (pool, [(2, 3, 6, 7), (2, 2, 2, 3)]),
}


def outcome(function, arguments, device):
    """Output and gradients on a device, brought back to the CPU."""
    leaves = [argument.to(device).requires_grad_() for argument in arguments]
    output = function(*leaves)
    gradients = torch.autograd.grad(output.square().sum(), leaves)
    return [tensor.detach().cpu() for tensor in (output, *gradients)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('name', OPERATORS)
def test_cuda_equals_cpu(name):
    function, shapes = OPERATORS[name]
    generator = torch.Generator().manual_seed(0)
    arguments = [
        torch.rand(shape, generator=generator, dtype=torch.float64) * 1.4 - 0.2 for shape in shapes
    ]
    on_cuda = outcome(function, arguments, 'cuda')
    for actual, expected in zip(on_cuda, outcome(function, arguments, 'cpu'), strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_masked_convolution_on_cuda_equals_cpu():
    generator = torch.Generator().manual_seed(0)
    arguments = [
        torch.rand(shape, generator=generator, dtype=torch.float64)
        for shape in ((1, 3, 5, 6), (1, 5, 6), (4, 3, 3, 3), (4,))
    ]
    arguments[1] = (arguments[1] > 0.5).double()
    on_cuda = masked_conv2d(*(argument.cuda() for argument in arguments), 1)
    torch.testing.assert_close(on_cuda.cpu(), masked_conv2d(*arguments, 1))
