import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.models.backbones import Darknet

from mmlayerwise.models.backbones import CSPDarknet53, Darknet19, ScaledDarknet, YOLOv1Darknet
from mmlayerwise.utils.errors import UserError


def widths(backbone):
    return [m.out_channels for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]


@pytest.mark.parametrize('backbone', [ScaledDarknet, Darknet19, CSPDarknet53, YOLOv1Darknet])
def test_all_convolutions_have_the_factor(backbone):
    full, narrow = backbone(), backbone(widen_factor=0.125)
    assert widths(narrow) == [width / 8 for width in widths(full)]
    outputs = narrow(torch.rand(2, 3, 64, 64))
    full, image = full.to('meta'), torch.rand(2, 3, 64, 64, device='meta')
    assert [out.shape[1] for out in outputs] == [out.shape[1] / 8 for out in full(image)]


def test_full_width_is_that_of_mmdet():
    with torch.device('meta'):
        narrow, stock = (one().state_dict() for one in (ScaledDarknet, Darknet))
    assert [(k, v.shape) for k, v in narrow.items()] == [(k, v.shape) for k, v in stock.items()]


def test_normalisation_keeps_its_settings():
    narrow = ScaledDarknet(widen_factor=0.25, norm_cfg=dict(type='BN', eps=0.5, momentum=0.03))
    norm = narrow.conv1.norm
    assert (norm.num_features, norm.eps, norm.momentum) == (8, 0.5, 0.03)


def test_a_broken_number_of_channels_is_refused():
    with pytest.raises(UserError, match=r'must be a multiple of 1/32, but is 0\.3'):
        ScaledDarknet(widen_factor=0.3)
