import pytest
import torch

pytest.importorskip('mmseg')
from mmseg.models.backbones import ResNeXt

from mmlayerwise.models.backbones import RearrangedResNeXt
from mmlayerwise.utils.meta_device import meta_device

NEXT101 = dict(groups=32, base_width=4)


def shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_usual_blocks_make_the_usual_network():
    with meta_device():
        stock, own = ResNeXt(depth=101, **NEXT101), RearrangedResNeXt((3, 4, 23, 3), **NEXT101)
    assert shapes(own) == shapes(stock)


def test_blocks_move_to_the_early_stages():
    with meta_device():
        stock, moved = ResNeXt(depth=101, **NEXT101), RearrangedResNeXt(**NEXT101)
    blocks = [len(getattr(moved, name)) for name in moved.res_layers]
    assert blocks == [8, 8, 9, 8]
    assert sum(blocks) == sum(len(getattr(stock, name)) for name in stock.res_layers)

    def block(stage):
        """Two 1x1 convolutions, a 3x3 one in 32 groups, and their normalisations."""
        width, out = 128 * 2**stage, 256 * 2**stage
        return 2 * width * out + 9 * width * width // 32 + 2 * (2 * width + out)

    difference = sum(
        (after - before) * block(stage)
        for stage, (before, after) in enumerate(zip((3, 4, 23, 3), blocks, strict=True))
    )
    before, after = (sum(p.numel() for p in model.parameters()) for model in (stock, moved))
    assert after - before == difference
    assert after == 50_332_480


@torch.no_grad()
def test_strides_stay():
    backbone = RearrangedResNeXt((2, 1, 1, 1), groups=4, base_channels=8, stem_channels=8)
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (32, 16, 24),
        (64, 8, 12),
        (128, 4, 6),
        (256, 2, 3),
    ]
