import math

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet')

from mmlayerwise.models.necks import BiFPN
from mmlayerwise.models.necks.bifpn import WeightedFusion, halve


def pool_same(plane):
    """3x3 maxima with stride 2 of a list of rows, padded by TensorFlow's rule."""
    sides = (len(plane), len(plane[0]))
    starts = []
    for side in sides:
        count = math.ceil(side / 2)
        padding = max((count - 1) * 2 + 3 - side, 0)
        starts.append([2 * index - padding // 2 for index in range(count)])
    return [
        [
            max(
                plane[y][x]
                for y in range(top, top + 3)
                for x in range(left, left + 3)
                if 0 <= y < sides[0] and 0 <= x < sides[1]
            )
            for left in starts[1]
        ]
        for top in starts[0]
    ]


@pytest.mark.parametrize('size', [(4, 6), (5, 7), (2, 3), (1, 1)], ids=str)
def test_pooling_pads_as_tensorflow_does(size):
    feature = -torch.rand(1, 1, *size)  # a padding of zeros would show
    expected = torch.tensor(pool_same(feature[0, 0].tolist()))
    torch.testing.assert_close(halve(feature)[0, 0], expected)


@pytest.mark.parametrize('weights', [[0.3, 2.0], [1.0, -0.5, 0.25], [-1.0, -2.0]], ids=str)
def test_fast_normalised_fusion(weights):
    features = torch.randn(len(weights), 1, 2, 3, 2, dtype=torch.float64)
    fusion = WeightedFusion(len(weights)).double()
    fusion.weights.data = torch.tensor(weights, dtype=torch.float64)
    fused = fusion(*features).flatten().tolist()
    flat = features.flatten(1).tolist()
    for place, value in enumerate(fused):
        numerator, denominator = 0.0, 1e-4
        for weight, feature in zip(weights, flat, strict=True):
            numerator += max(weight, 0) * feature[place]
            denominator += max(weight, 0)
        assert value == pytest.approx(numerator / denominator, rel=1e-12)


def test_fusion_without_weights_is_a_sum():
    features = torch.randn(3, 1, 2, 2, 2)
    fusion = WeightedFusion(3, weighted=False)
    torch.testing.assert_close(fusion(*features), features.sum(0))
    assert not list(fusion.parameters())


def apply_node(node, *inputs):
    """The node's equations on float64 maps."""
    weights = [1.0] * len(inputs)
    if node.fusion.weights is not None:
        raw = [max(value, 0) for value in node.fusion.weights.tolist()]
        weights = [value / (1e-4 + sum(raw)) for value in raw]
    fused = torch.zeros_like(inputs[0])
    for weight, feature in zip(weights, inputs, strict=True):
        fused = fused + weight * feature
    fused = fused / (1 + (-fused).exp())
    depthwise, pointwise, norm = node.conv.depthwise, node.conv.pointwise, node.norm
    filtered = F.conv2d(fused, depthwise.weight, padding=1, groups=len(depthwise.weight))
    mixed = torch.einsum('oi,nihw->nohw', pointwise.weight[:, :, 0, 0], filtered)
    mixed = mixed + pointwise.bias[:, None, None]
    return normalise(norm, mixed)


def normalise(norm, x):
    scale = norm.weight / (norm.running_var + 1e-3).sqrt()
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def enlarge(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def shrink(x):
    pooled = [[pool_same(plane) for plane in planes] for planes in x.tolist()]
    return torch.tensor(pooled, dtype=x.dtype)


def resample(lateral, x):
    conv, norm = lateral
    return normalise(norm, F.conv2d(x, conv.weight, conv.bias))


@torch.no_grad()
@pytest.mark.parametrize('weighted', [True, False])
def test_cells_follow_the_papers_equations(weighted):
    torch.manual_seed(0)
    neck = BiFPN((4, 6, 8), out_channels=5, num_cells=2, weighted=weighted).double().eval()
    for parameter in neck.parameters():
        parameter.uniform_(-0.5, 1)
    for name, buffer in neck.named_buffers():
        if 'running' in name:
            buffer.uniform_(0.5, 1.5)
    c3, c4, c5 = (torch.randn(1, c, 32 // s, 64 // s).double() for c, s in ((4, 2), (6, 4), (8, 8)))
    p3, p4, p5 = map(resample, neck.downward_laterals, (c3, c4, c5))
    p6 = shrink(resample(neck.extra_lateral, c5))
    p7 = shrink(p6)
    p4_up, p5_up = map(resample, neck.upward_laterals, (c4, c5))
    for cell in neck.cells:
        p6_td = apply_node(cell.top_down[3], p6, enlarge(p7))
        p5_td = apply_node(cell.top_down[2], p5, enlarge(p6_td))
        p4_td = apply_node(cell.top_down[1], p4, enlarge(p5_td))
        p3_out = apply_node(cell.top_down[0], p3, enlarge(p4_td))
        p4_out = apply_node(cell.bottom_up[0], p4_up, p4_td, shrink(p3_out))
        p5_out = apply_node(cell.bottom_up[1], p5_up, p5_td, shrink(p4_out))
        p6_out = apply_node(cell.bottom_up[2], p6, p6_td, shrink(p5_out))
        p7_out = apply_node(cell.bottom_up[3], p7, shrink(p6_out))
        p3, p4, p5, p6, p7 = p3_out, p4_out, p5_out, p6_out, p7_out
        p4_up, p5_up = p4, p5
    for level, expected in zip(neck((c3, c4, c5)), (p3, p4, p5, p6, p7), strict=True):
        torch.testing.assert_close(level, expected)


def test_levels_of_odd_size_fit_together():
    neck = BiFPN((4, 6, 8), out_channels=4, num_cells=2).eval()
    features = [torch.randn(1, c, *s) for c, s in ((4, (13, 9)), (6, (7, 5)), (8, (4, 3)))]
    sizes = [tuple(level.shape[-2:]) for level in neck(features)]
    assert sizes == [(13, 9), (7, 5), (4, 3), (2, 2), (1, 1)]


def test_pyramid_must_go_beyond_the_backbone():
    with pytest.raises(ValueError, match='more than the 3 maps of the backbone, but is 3'):
        BiFPN((4, 6, 8), num_outs=3)
