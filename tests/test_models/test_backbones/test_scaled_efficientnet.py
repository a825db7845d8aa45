import pytest
import torch

from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import build_on_meta, count_parameters, linear_head

pytest.importorskip('mmdet')


def channels_of(**config):
    config = {'type': 'ScaledEfficientNet', 'out_indices': range(7), **config}
    (backbone,) = build_on_meta(config)
    return [one.shape[1] for one in backbone(torch.zeros(1, 3, 64, 64, device='meta'))]


def test_without_a_factor_it_is_the_published_network():
    assert count_parameters({'type': 'ScaledEfficientNet'}, linear_head(1280)) == 5_288_548
    whole = {'type': 'mmdet.EfficientNet', 'arch': 'b2', 'out_indices': (6,)}
    scaled = {'type': 'ScaledEfficientNet', 'arch': 'b2', 'out_indices': (6,)}
    assert count_parameters(whole, linear_head(1408)) == count_parameters(scaled, linear_head(1408))


def test_the_factor_multiplies_the_width_of_the_family():
    assert channels_of() == [32, 16, 24, 40, 112, 320, 1280]
    assert channels_of(widen_factor=0.5) == [16, 8, 16, 24, 56, 160, 640]
    # A coefficient of 1.1 is that of B2, in the depth of B0.
    assert channels_of(widen_factor=1.1) == channels_of(arch='b2')


def test_the_family_keeps_its_widths():
    channels_of(widen_factor=0.25)
    assert channels_of() == [32, 16, 24, 40, 112, 320, 1280]


def test_a_wrong_factor_or_member_is_refused():
    with pytest.raises(UserError, match='widen_factor must be positive, but is 0'):
        channels_of(widen_factor=0)
    with pytest.raises(AssertionError, match='"b9" is not one of the arch_settings'):
        channels_of(arch='b9')
