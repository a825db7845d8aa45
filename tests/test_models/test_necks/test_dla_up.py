import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet')

from mmlayerwise.models.necks import DLAUp
from mmlayerwise.utils.meta_device import meta_device


def deformable(inputs, outputs):
    """Weights and bias, offsets and mask of 9 places, normalisation."""
    return 9 * inputs * outputs + outputs + 27 * (9 * inputs + 1) + 2 * outputs


def aggregation(widths, outputs, factors):
    total = 0
    for width, factor in zip(widths, factors, strict=True):
        total += deformable(width, outputs) + deformable(outputs, outputs)
        total += outputs * (2 * factor) ** 2
    return total


def test_parameters_follow_from_the_authors_network():
    expected = aggregation([512], 256, [2])
    expected += aggregation([256, 256], 128, [2, 2])
    expected += aggregation([128, 128, 128], 64, [2, 2, 2])
    expected += aggregation([128, 256], 64, [2, 4])
    # The aggregates of the levels of strides 8 and 16 keep their levels' channels.
    with meta_device():
        neck = DLAUp()
    assert sum(p.numel() for p in neck.parameters()) == expected


@torch.no_grad()
def test_aggregates_level_by_level():
    torch.manual_seed(0)
    neck = DLAUp((4, 6, 8, 10), use_dcn=False)
    neck.init_weights()
    neck.eval()
    c2, c3, c4, c5 = (torch.randn(1, c, 16 >> i, 32 >> i) for i, c in enumerate((4, 6, 8, 10)))

    def step(aggregation, index, coarse, fine):
        enlarged = aggregation.upsamplings[index](aggregation.projections[index](coarse))
        return aggregation.nodes[index](enlarged + fine)

    one, two, three = neck.aggregations
    a4 = step(one, 0, c5, c4)
    b3 = step(two, 0, c4, c3)
    b4 = step(two, 1, a4, b3)
    d2 = step(three, 0, c3, c2)
    d3 = step(three, 1, b3, d2)
    d4 = step(three, 2, b4, d3)
    e3 = step(neck.last, 0, b4, d4)
    expected = step(neck.last, 1, a4, e3)
    (output,) = neck((c2, c3, c4, c5))
    torch.testing.assert_close(output, expected)


@torch.no_grad()
def test_enlarging_starts_as_bilinear_interpolation():
    neck = DLAUp((4, 6, 8, 10), use_dcn=False)
    neck.init_weights()
    x = torch.randn(1, 4, 5, 6)
    for layer, factor in zip(neck.last.upsamplings, (2, 4), strict=True):
        expected = F.interpolate(x, scale_factor=factor, mode='bilinear')
        inside = (..., slice(factor, -factor), slice(factor, -factor))
        torch.testing.assert_close(layer(x)[inside], expected[inside])
