import pytest
import torch

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')
from mmlayerwise.models.decode_heads import RefineNetHead

NARROW = dict(in_channels=(2, 3, 4, 5), block_channels=(4, 4, 4, 8), num_classes=3)


def test_parameters_of_the_released_layout():
    with meta_device():
        head = RefineNetHead(num_classes=21)
    reductions = 9 * (256 * 256 + 512 * 256 + 1024 * 256 + 2048 * 512)
    # A block: five units of two convolutions, one with a bias, and four poolings.
    blocks = sum(5 * (18 * c * c + c) + 4 * 9 * c * c for c in (256, 256, 256, 512))
    fusions = 9 * (512 * 256 + 5 * 256 * 256)
    classifier = 9 * 256 * 21 + 21
    expected = reductions + blocks + fusions + classifier
    assert sum(p.numel() for p in head.parameters()) == expected == 75_552_277


@pytest.mark.parametrize('sizes', [(32, 16, 8, 4), (29, 15, 8, 4)])
def test_scores_have_the_size_of_the_finest_map_and_train_everything(sizes):
    torch.manual_seed(0)
    head = RefineNetHead(**NARROW, init_cfg=dict(type='Kaiming', layer='Conv2d'))
    head.init_weights()
    maps = [torch.randn(2, 2 + i, size, size + 1) for i, size in enumerate(sizes)]
    scores = head(maps)
    assert scores.shape == (2, 3, sizes[0], sizes[0] + 1)
    scores.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


@torch.no_grad()
def test_the_two_coarsest_maps_are_dropped_out_in_training():
    torch.manual_seed(0)
    head = RefineNetHead(**NARROW, dropout_ratio=1.0)
    maps = [torch.randn(1, 2 + i, 16 >> i, 16 >> i) for i in range(4)]

    def depends_on(index):
        changed = [m + 1 if i == index else m for i, m in enumerate(maps)]
        return not torch.equal(head(changed), head(maps))

    head.train()
    assert [depends_on(index) for index in range(4)] == [True, True, False, False]
    head.eval()
    assert all(depends_on(index) for index in range(4))


def test_each_map_needs_a_block():
    with pytest.raises(UserError, match=r'4 in_channels, .* as many block_channels, not \[4, 8\]'):
        RefineNetHead((2, 3, 4, 5), (4, 8), num_classes=3)
