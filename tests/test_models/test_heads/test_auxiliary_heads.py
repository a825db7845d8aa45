import pytest
import torch

from mmlayerwise.models.heads import GoogLeNetAuxiliaryHead, InceptionV3AuxiliaryHead
from mmlayerwise.utils.meta_device import meta_device


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_of_the_papers():
    with meta_device():
        aux1 = GoogLeNetAuxiliaryHead(1000, 512)
        aux2 = GoogLeNetAuxiliaryHead(1000, 528)
        inception = InceptionV3AuxiliaryHead(1000)
    assert count(aux1) + count(aux2) == 13_004_888 - 6_624_904
    assert count(inception) == 27_161_264 - 23_834_568


def test_default_weights_are_those_of_the_papers():
    with meta_device():
        assert GoogLeNetAuxiliaryHead(10, 512).loss_weight == 0.3
        assert InceptionV3AuxiliaryHead(10).loss_weight == 0.4


def test_pooling_is_the_papers_on_14x14_features():
    feature = torch.randn(1, 2, 14, 14)
    expected = torch.nn.functional.avg_pool2d(feature, 5, stride=3)
    actual = GoogLeNetAuxiliaryHead(10, 2).pool(feature)
    assert actual.shape == expected.shape == (1, 2, 4, 4)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ('head', 'feature'),
    [
        (GoogLeNetAuxiliaryHead(7, 32), torch.randn(2, 32, 14, 14)),
        (InceptionV3AuxiliaryHead(7, 32), torch.randn(2, 32, 17, 17)),
    ],
)
def test_logits_come_from_the_chosen_feature_map(head, feature):
    head.eval()
    assert head((feature, torch.zeros(2, 1, 1, 1))).shape == (2, 7)
    assert not torch.equal(head((feature,))[0], head((2 * feature,))[0])
