import pytest
import torch

pytest.importorskip('mmseg')
from mmseg.models.backbones import ResNet

from mmlayerwise.models.backbones import StemlessResNet
from mmlayerwise.utils.meta_device import meta_device


def test_parameters():
    with meta_device():
        counts = [sum(p.numel() for p in one(50).parameters()) for one in (ResNet, StemlessResNet)]
    # ResNet-50 without its last layer; the stem has 49 * 3 * 64 + 2 * 64.
    assert counts == [23_508_032, 23_508_032 - 9_536]


@torch.no_grad()
def test_each_stage_reads_the_sum_of_the_one_before():
    torch.manual_seed(0)
    stemless, resnet = (
        one(18, base_channels=4, stem_channels=6) for one in (StemlessResNet, ResNet)
    )
    for module in (stemless, resnet):
        module.eval()  # which returns None
    resnet.load_state_dict(stemless.state_dict(), strict=False)
    features = torch.randn(1, 6, 20, 28)
    sizes = ((4, 20, 28), (8, 10, 14), (16, 5, 7), (32, 3, 4))
    additions = [torch.randn(1, *size) for size in sizes]
    expected = features
    for stage, output in enumerate(stemless(features, additions)):
        expected = getattr(resnet, f'layer{stage + 1}')(expected) + additions[stage]
        torch.testing.assert_close(output, expected)


def test_checkpoint_of_resnet_fits_but_for_the_stem():
    with meta_device():
        resnet, stemless = ResNet(50), StemlessResNet(50)
        outcome = stemless.load_state_dict(resnet.state_dict(), strict=False)
    assert not outcome.missing_keys
    assert {key.split('.')[0] for key in outcome.unexpected_keys} == {'conv1', 'bn1'}
