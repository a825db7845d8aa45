import pytest
import torch
from torch.nn import functional as F

from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')
from mmlayerwise.models.backbones import DenseNet
from mmlayerwise.models.decode_heads import LadderDenseHead
from mmlayerwise.utils.errors import UserError


@pytest.mark.parametrize(('depth', 'parameters'), [(121, 9_190_656), (169, 15_082_240)])
def test_parameters_with_its_trunk(depth, parameters):
    with meta_device():
        trunk = DenseNet(depth, final_norm=False)
        head = LadderDenseHead(trunk.out_channels, num_classes=19)
    modules = [*trunk.parameters(), *head.parameters()]
    assert sum(p.numel() for p in modules) == parameters


@torch.no_grad()
def test_maps_are_blended_from_coarse_to_fine():
    torch.manual_seed(0)
    head = LadderDenseHead((2, 3, 4), 5, bottleneck_channels=6, num_classes=7).double().eval()
    # Sizes that are no multiples of each other.
    maps = [
        torch.randn(1, 2 + i, *size, dtype=torch.float64)
        for i, size in enumerate(((9, 13), (4, 6), (2, 3)))
    ]

    def unit(module, x):  # fresh statistics: mean 0 and variance 1
        weight = module.conv.weight
        return F.conv2d((x / (1 + 1e-5) ** 0.5).relu(), weight, padding=weight.shape[-1] // 2)

    features = unit(head.context[1], unit(head.context[0], maps[2]))
    assert features.shape == (1, 5, 2, 3)
    for step, skip in enumerate((maps[1], maps[0])):
        enlarged = F.interpolate(features, skip.shape[2:], mode='bilinear', align_corners=False)
        features = unit(
            head.blends[step], torch.cat([enlarged, unit(head.skips[step], skip)], dim=1)
        )
    expected = F.conv2d(features.relu(), head.conv_seg.weight)
    assert head.conv_seg.bias is None
    torch.testing.assert_close(head(maps), expected)


def test_pyramid_pooling_gives_context_to_every_position():
    torch.manual_seed(0)
    kwargs = dict(bottleneck_channels=6, num_classes=2)
    maps = [torch.randn(1, 2, 64, 64), torch.randn(1, 4, 32, 32, requires_grad=True)]
    for grids, everywhere in (((), False), ((1,), True)):
        head = LadderDenseHead((2, 4), 5, pyramid_grids=grids, **kwargs).eval()
        (gradient,) = torch.autograd.grad(head(maps)[..., 0, 0].sum(), maps[1])
        assert bool(gradient[..., -1, -1].any()) == everywhere


@pytest.mark.parametrize('grids', [(), (2, 1)])
def test_everything_is_trained(grids):
    torch.manual_seed(0)
    trunk = DenseNet(block_layers=(1, 1, 1, 1), growth_rate=4, stem_channels=8, final_norm=False)
    head = LadderDenseHead(
        trunk.out_channels, 8, bottleneck_channels=8, pyramid_grids=grids, num_classes=3
    )
    for module in (trunk, head):
        module.init_weights()
    scores = head(trunk(torch.randn(2, 3, 70, 90)))
    assert scores.shape == (2, 3, 18, 23)
    scores.square().mean().backward()
    assert all(p.grad.any() for p in [*trunk.parameters(), *head.parameters()])


def test_one_block_is_refused():
    with pytest.raises(UserError, match=r'at least two dense blocks, not \[8\]'):
        LadderDenseHead((8,), num_classes=3)
