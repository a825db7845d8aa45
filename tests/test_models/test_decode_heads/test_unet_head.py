import pytest
import torch

pytest.importorskip('mmseg')

from mmlayerwise.models.decode_heads import UNetHead

WIDTHS = [4, 6, 8]


def make_head() -> UNetHead:
    torch.manual_seed(0)
    return UNetHead(WIDTHS, channels=5, num_classes=3, norm_cfg=dict(type='BN')).eval()


def make_maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, width, 16 // 2**level, 16 // 2**level, generator=generator)
        for level, width in enumerate(WIDTHS)
    ]


def test_climbs_to_the_finest_map():
    head, maps = make_head(), make_maps()
    with torch.no_grad():
        logits = head(maps)
        middle = head.steps[0](maps[1], maps[2])
        finest = head.steps[1](maps[0], middle)
        expected = head.conv_seg(finest)
    assert middle.shape == (2, 6, 8, 8)
    assert finest.shape == (2, 5, 16, 16)
    assert torch.equal(logits, expected)


def test_every_map_counts():
    head, maps = make_head(), [one.requires_grad_() for one in make_maps()]
    head(maps).square().sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in maps)


def test_goes_without_the_coarsest_maps():
    head, maps = make_head(), make_maps()
    last = head.steps[1]
    head.keep_levels(2)
    assert list(head.steps) == [last]
    with torch.no_grad():
        expected = head.conv_seg(last(maps[0], maps[1]))
        assert torch.equal(head(maps[:2]), expected)
    assert (head.in_channels, head.in_index) == ([4, 6], [0, 1])


def test_chooses_the_maps_that_are_named():
    head = UNetHead([4, 6], channels=5, in_index=[1, 3], num_classes=3, norm_cfg=dict(type='BN'))
    maps = [torch.zeros(1, 1, 1, 1), make_maps()[0], torch.zeros(1, 1, 1, 1), make_maps()[1]]
    assert head.eval()(maps).shape == (2, 3, 16, 16)
