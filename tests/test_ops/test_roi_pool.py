"""RoIPool against a plain loop in float64."""

import math

import pytest
import torch
from mmcv.ops import RoIPool, roi_pool

ROIS = [
    [0, 1.0, 2.0, 9.0, 8.0],
    [1, 0.3, 0.7, 4.2, 4.9],
    [0, -6.0, -3.5, 5.2, 7.9],  # hangs over the upper left corner
    [1, 10.2, 9.1, 19.5, 17.3],  # and over the lower right one
    [0, 40.0, 40.0, 50.0, 50.0],  # wholly outside
    [1, 8.0, 8.0, 3.0, 3.0],  # inverted
    [0, 3.0, 6.0, 15.9, 6.4],
]


def reference(maps, rois, size, scale):
    height, width = maps.shape[2:]
    output = torch.zeros(len(rois), maps.shape[1], *size, dtype=torch.float64)
    for k, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        if x2 <= x1 or y2 <= y1:
            continue
        step_y, step_x = (y2 - y1) / size[0], (x2 - x1) / size[1]
        for i in range(size[0]):
            rows = range(
                max(math.floor(i * step_y + y1), 0),
                min(math.ceil((i + 1) * step_y + y1), height),
            )
            for j in range(size[1]):
                columns = range(
                    max(math.floor(j * step_x + x1), 0),
                    min(math.ceil((j + 1) * step_x + x1), width),
                )
                for c in range(maps.shape[1]):
                    bin_values = [maps[int(image), c, y, x].item() for y in rows for x in columns]
                    output[k, c, i, j] = max(bin_values, default=0.0)
    return output


@pytest.fixture
def maps():
    return torch.randn(2, 3, 9, 10, dtype=torch.float64, generator=torch.manual_seed(0))


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize('scale', [0.5, 1.0])
def test_equals_the_plain_loop(maps, size, scale):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    output = roi_pool(maps, rois, size, scale)
    assert torch.equal(output, reference(maps, rois, size, scale))
    assert output.any()


def test_hand_computed_maxima():
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    rois = torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0], [0.0, 1.0, 1.0, 2.0, 2.0]])
    expected = torch.tensor([[[[5.0, 7.0], [13.0, 15.0]]], [[[5.0, 6.0], [9.0, 10.0]]]])
    assert torch.equal(roi_pool(maps, rois, 2, 1.0), expected)


def test_regions_gathered_in_parts_keep_their_order(maps, monkeypatch):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    whole = roi_pool(maps, rois, (2, 3), 1.0)
    monkeypatch.setattr('mmlayerwise.ops.roi_pool._GATHERED_ELEMENTS', 100)
    assert torch.equal(roi_pool(maps, rois, (2, 3), 1.0), whole)


def test_gradient(maps):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    layer = RoIPool((2, 3), 0.5)
    assert torch.autograd.gradcheck(lambda x: layer(x, rois), maps.requires_grad_())


def test_equal_values_send_the_gradient_to_the_first_pixel():
    maps = torch.zeros(1, 1, 3, 3, requires_grad=True)
    roi_pool(maps, torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]]), 1, 1.0).sum().backward()
    assert maps.grad.flatten().tolist() == [1.0] + [0.0] * 8


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(maps, dtype):
    low = maps.to(dtype).requires_grad_()
    rois = torch.tensor(ROIS).to(dtype)
    output = roi_pool(low, rois, (2, 3), 1.0)
    assert torch.equal(output.double(), reference(low.double(), rois.double(), (2, 3), 1.0))
    output.sum().backward()
    assert low.grad.dtype == dtype
    assert low.grad.sum() == (output != 0).sum()


def test_no_regions(maps):
    maps.requires_grad_()
    output = roi_pool(maps, maps.new_zeros(0, 5), (2, 3), 1.0)
    assert output.shape == (0, 3, 2, 3)
    output.sum().backward()
    assert not maps.grad.any()


@pytest.mark.gpu
def test_cuda_equals_cpu(maps):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    output = roi_pool(maps.cuda(), rois.cuda(), (2, 3), 1.0)
    assert torch.equal(output.cpu(), roi_pool(maps, rois, (2, 3), 1.0))
