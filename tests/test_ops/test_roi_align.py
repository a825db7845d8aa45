"""RoIAlign against a plain loop over bins, samples and taps in float64."""

import math

import pytest
import torch
from mmcv.ops import RoIAlign, roi_align

ROIS = [
    [0, 1.3, 2.1, 9.7, 8.4],
    [1, 0.0, 0.0, 4.0, 4.0],
    [0, -6.0, -3.5, 5.2, 7.9],  # hangs over the upper left corner
    [1, 10.2, 9.1, 19.5, 17.3],  # and over the lower right one
    [0, 30.0, 30.0, 40.0, 40.0],  # wholly outside
    [1, 5.0, 5.0, 5.0, 5.0],  # no area
    [0, 3.0, 6.0, 15.9, 6.4],
]


def bilinear(plane, y, x):
    height, width = len(plane), len(plane[0])
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy = 0.0 if y0 == height - 1 else y - y0
    dx = 0.0 if x0 == width - 1 else x - x0
    top = plane[y0][x0] * (1 - dx) + plane[y0][x1] * dx
    bottom = plane[y1][x0] * (1 - dx) + plane[y1][x1] * dx
    return top * (1 - dy) + bottom * dy


def reference(maps, rois, size, scale, ratio, mode, aligned):
    output = torch.zeros(len(rois), maps.shape[1], *size, dtype=torch.float64)
    for k, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0.0) for c in box)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = max(height, 1.0), max(width, 1.0)
        rows = ratio or math.ceil(height / size[0])
        columns = ratio or math.ceil(width / size[1])
        for c, plane in enumerate(maps[int(image)].tolist()):
            for i in range(size[0]):
                for j in range(size[1]):
                    samples = [
                        bilinear(
                            plane,
                            y1 + height / size[0] * (i + (a + 0.5) / rows),
                            x1 + width / size[1] * (j + (b + 0.5) / columns),
                        )
                        for a in range(rows)
                        for b in range(columns)
                    ]
                    if samples:
                        pooled = max(samples) if mode == 'max' else sum(samples) / len(samples)
                        output[k, c, i, j] = pooled
    return output


@pytest.fixture
def maps():
    return torch.randn(2, 3, 9, 10, dtype=torch.float64, generator=torch.manual_seed(0))


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('scale', [0.5, 1.0])
def test_equals_the_plain_loop(maps, aligned, mode, ratio, scale):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    expected = reference(maps, rois, (2, 3), scale, ratio, mode, aligned)
    output = roi_align(maps, rois, (2, 3), scale, ratio, mode, aligned)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    assert output.abs().sum() > 0


def test_single_pixel_bins_reproduce_the_map():
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    rois = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
    torch.testing.assert_close(roi_align(maps, rois, 4, 1.0, 1, 'avg', True), maps)


def test_hand_computed_average_without_alignment():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    rois = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0]])
    output = roi_align(maps, rois, (2, 2), 1.0, 2, 'avg', False)
    # Samples lie at 1/8, 3/8, 5/8 and 7/8 along both axes; a bin averages two by two of them.
    expected = torch.tensor([[[[1.75, 2.25], [2.75, 3.25]]]])
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('ratio', [0, 2])
def test_gradient(maps, mode, ratio):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    layer = RoIAlign((2, 3), 0.5, ratio, mode, aligned=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, rois), maps.requires_grad_())


@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_exact_result_once(maps, mode, dtype):
    rois = torch.tensor(ROIS).to(dtype)
    low = maps.to(dtype).requires_grad_()
    output = roi_align(low, rois, (2, 3), 0.5, 0, mode, True)
    expected = reference(low.double(), rois.double(), (2, 3), 0.5, 0, mode, True)
    tolerance = torch.finfo(dtype).eps
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance)
    output.sum().backward()
    assert low.grad.dtype == dtype
    assert low.grad.abs().sum() > 0


def test_no_regions(maps):
    maps.requires_grad_()
    output = roi_align(maps, maps.new_zeros(0, 5), (2, 3), 1.0, 0, 'avg', True)
    assert output.shape == (0, 3, 2, 3)
    output.sum().backward()
    assert not maps.grad.any()


def test_inverted_and_infinite_regions_pool_to_zero(maps):
    rois = torch.tensor(
        [[0, 8, 8, 2, 2], [0, 0, 0, math.inf, 5], [1, math.nan, 0, 5, 5]], dtype=torch.float64
    )
    for mode in ('avg', 'max'):
        assert not roi_align(maps, rois, 2, 1.0, 0, mode, True).any()


def test_many_regions_are_divided_into_parts(maps, monkeypatch):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    whole = roi_align(maps, rois, (2, 3), 1.0, 0, 'avg', True)
    monkeypatch.setattr('mmlayerwise.ops.roi_align._TABLE_ELEMENTS', 200)
    torch.testing.assert_close(roi_align(maps, rois, (2, 3), 1.0, 0, 'avg', True), whole)
    # Regions of very different size are the costly case of the shared table of positions.
    large = torch.cat([rois, torch.tensor([[0, 0, 0, 5000, 5000]], dtype=torch.float64)])
    torch.testing.assert_close(roi_align(maps, large, (2, 3), 1.0, 0, 'avg', True)[:-1], whole)


def test_regions_of_an_image_may_share_a_window(maps):
    """The grouping that accelerators use, run on the CPU."""
    from mmlayerwise.ops import roi_samples

    vertical = torch.zeros(4, 1, 9)
    vertical[0, 0, 2:4] = vertical[1, 0, 5:7] = vertical[3, 0, 1] = 1
    horizontal = torch.ones(4, 1, 10)
    images = torch.tensor([0, 0, 0, 1])
    alone = list(roi_samples.windows(images, vertical, horizontal, 3))
    assert [window.rows for window in alone] == [slice(2, 4), slice(5, 7), slice(1, 2)]
    shared = list(roi_samples.windows(images, vertical, horizontal, 3, group_elements=60))
    assert [window.regions for window in shared] == [slice(0, 2), slice(3, 4)]
    assert shared[0].rows == slice(2, 7)


@pytest.mark.gpu
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_cuda_equals_cpu(maps, mode):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    results = []
    for device in ('cpu', 'cuda'):
        leaf = maps.to(device).requires_grad_()
        output = roi_align(leaf, rois.to(device), (2, 3), 0.5, 0, mode, True)
        output.pow(2).sum().backward()
        results.append((output.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(*results)
