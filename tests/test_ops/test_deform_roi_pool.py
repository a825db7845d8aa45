from math import ceil
from unittest.mock import patch

import pytest
import torch

mmcv = pytest.importorskip('mmcv')
from mmcv.ops import (  # noqa: E402
    DeformRoIPool,
    DeformRoIPoolPack,
    ModulatedDeformRoIPoolPack,
    deform_roi_pool,
)

from mmlayerwise.ops import deform_roi_pool as operator  # noqa: E402

from .bilinear_reference import interpolate  # noqa: E402

POOLED, SCALE, GAMMA = (2, 3), 0.5, 0.1


@pytest.fixture
def inputs():
    """Maps, regions (ordinary, large, half outside, nearly empty, inverted) and offsets."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 5, 6, generator=generator, dtype=torch.float64)
    rois = [
        [0, 0.3, 0.2, 7.7, 8.1],
        [1, 2, 1, 11, 9.5],
        [1, -4, -5, 3, 2],
        [0, 5, 5, 5.2, 5.1],
        [0, 6, 6, 3, 3],
    ]
    offsets = torch.randn(5, 2, *POOLED, generator=generator, dtype=torch.float64)
    return maps.requires_grad_(), torch.tensor(rois, dtype=torch.float64), offsets.requires_grad_()


def pool(maps, rois, offsets, sampling_ratio):
    """Average the samples of every bin in turn."""
    output = torch.zeros(len(rois), maps.shape[1], *POOLED, dtype=torch.float64)
    limits = maps.shape[2:]
    for index, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (corner * SCALE - 0.5 for corner in corners)
        start, size = (y1, x1), (y2 - y1, x2 - x1)
        bins = [length / count for length, count in zip(size, POOLED, strict=True)]
        grid = [sampling_ratio or max(ceil(length), 0) for length in bins]
        for place in torch.cartesian_prod(*map(torch.arange, POOLED)).tolist():
            total = torch.zeros(maps.shape[1], dtype=torch.float64)
            for sample in ((i, j) for i in range(grid[0]) for j in range(grid[1])):
                y, x = (
                    start[axis]
                    + (place[axis] + (sample[axis] + 0.5) / grid[axis]) * bins[axis]
                    + GAMMA * size[axis] * offsets[index, 1 - axis, place[0], place[1]].item()
                    for axis in range(2)
                )
                if -1 <= y <= limits[0] and -1 <= x <= limits[1]:
                    y, x = min(max(y, 0), limits[0] - 1), min(max(x, 0), limits[1] - 1)
                    total += interpolate(maps[int(image)], y, x)
            output[index, :, place[0], place[1]] = total / max(grid[0] * grid[1], 1)
    return output


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_equals_a_plain_loop(inputs, sampling_ratio):
    maps, rois, offsets = (tensor.detach() for tensor in inputs)
    module = DeformRoIPool(POOLED, SCALE, sampling_ratio, GAMMA)
    expected = pool(maps, rois, offsets, sampling_ratio)
    torch.testing.assert_close(module(maps, rois, offsets), expected)
    still = pool(maps, rois, torch.zeros_like(offsets), sampling_ratio)
    torch.testing.assert_close(module(maps, rois), still)


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_gradients_are_exact(inputs, sampling_ratio):
    maps, rois, offsets = inputs
    assert torch.autograd.gradcheck(
        lambda maps, offsets: deform_roi_pool(
            maps, rois, offsets, POOLED, SCALE, sampling_ratio, GAMMA
        ),
        (maps, offsets),
        fast_mode=True,
    )


def test_bands_of_regions_do_not_change_the_result(inputs):
    maps, rois, offsets = inputs
    whole = deform_roi_pool(maps, rois, offsets, POOLED, SCALE, 0, GAMMA)
    expected = torch.autograd.grad(whole.square().sum(), (maps, offsets))
    with patch.object(operator, '_MAX_SAMPLES', 30):
        banded = deform_roi_pool(maps, rois, offsets, POOLED, SCALE, 0, GAMMA)
        gradients = torch.autograd.grad(banded.square().sum(), (maps, offsets))
    torch.testing.assert_close(banded, whole)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_low_precision_rounds_once(inputs, dtype, tolerance):
    maps, rois, offsets = (tensor.detach().to(dtype) for tensor in inputs)
    output = deform_roi_pool(maps, rois, offsets, POOLED, SCALE, 2, GAMMA)
    expected = deform_roi_pool(
        *(tensor.double() for tensor in (maps, rois, offsets)), POOLED, SCALE, 2, GAMMA
    )
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance / 4)


@pytest.mark.parametrize('module', [DeformRoIPoolPack, ModulatedDeformRoIPoolPack])
def test_modules_that_learn_offsets_train(module):
    pack = module((2, 2), output_channels=3, deform_fc_channels=4, spatial_scale=SCALE)
    maps = torch.randn(1, 3, 6, 6, requires_grad=True)
    rois = torch.tensor([[0.0, 1.0, 1.0, 9.0, 9.0]])
    output = pack(maps, rois)
    plain = deform_roi_pool(maps, rois, None, (2, 2), SCALE)
    # Offsets start at zero; the modulation, where there is one, at one half.
    torch.testing.assert_close(output, plain * (0.5 if module is ModulatedDeformRoIPoolPack else 1))
    output.square().sum().backward()
    assert pack.offset_fc[-1].bias.grad.abs().sum() > 0
    assert maps.grad.abs().sum() > 0


def test_no_regions_give_an_empty_output(inputs):
    maps = inputs[0]
    output = deform_roi_pool(maps, torch.zeros(0, 5).double(), None, POOLED, SCALE)
    assert output.shape == (0, 3, *POOLED)
    assert torch.equal(torch.autograd.grad(output.sum(), maps)[0], torch.zeros_like(maps))
