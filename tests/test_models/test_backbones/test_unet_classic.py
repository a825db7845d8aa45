import pytest
import torch
from torch import nn

from mmlayerwise.models.backbones import UNetClassic
from mmlayerwise.models.backbones.unet_classic import crop_to_centre
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device


@pytest.fixture(scope='module')
def full_size():
    with meta_device():
        return UNetClassic(in_channels=1).eval()


def test_tile_of_the_paper(full_size):
    (features,) = full_size(torch.zeros(1, 1, 572, 572, device='meta'))
    assert features.shape == (1, 64, 388, 388)
    assert full_size.margin == 92


@pytest.mark.parametrize(('channels', 'parameters'), [(1, 31_030_658), (3, 31_031_810)])
def test_parameters_and_convolutions_with_two_classes(channels, parameters):
    with meta_device():
        model = nn.Sequential(UNetClassic(in_channels=channels), nn.Conv2d(64, 2, 1))
    assert sum(p.numel() for p in model.parameters()) == parameters
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 23


@pytest.mark.parametrize('num_stages', [2, 3, 4, 5])
def test_output_is_the_input_without_its_margin(num_stages):
    with meta_device():
        model = UNetClassic(base_channels=2, num_stages=num_stages)
    height, width = model.output_size_for(1), model.output_size_for(50)
    assert 50 <= width < 50 + 2 ** (num_stages - 1)
    context = 2 * model.margin
    images = torch.zeros(1, 3, height + context, width + context, device='meta')
    assert model(images)[0].shape[-2:] == (height, width)


@pytest.mark.parametrize('size', [(572, 571), (573, 572), (172, 572), (64, 64)])
def test_sizes_that_do_not_fit_are_explained(full_size, size):
    message = rf'188, 204, 220 and so on in steps of 16 pixels, but got {size[0]}x{size[1]}'
    with pytest.raises(UserError, match=message):
        full_size(torch.zeros(1, 1, *size, device='meta'))


def test_interior_is_that_of_a_padded_convolution_far_from_the_border():
    # No value at the border enters the middle: changing pixels beyond the receptive field of the
    # output's first pixel leaves it as it is.
    torch.manual_seed(0)
    model = UNetClassic(base_channels=4, num_stages=3).double().eval()
    side = model.output_size_for(17) + 2 * model.margin
    image = torch.randn(1, 3, side, side, dtype=torch.float64)
    other = image.clone()
    other[..., -1] += 1
    before, after = model(image)[0], model(other)[0]
    changed = (before != after).any(dim=1)[0].any(dim=0)
    assert changed[-1]
    assert not changed[: -model.margin].any()


def test_skips_keep_the_centre():
    features = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert crop_to_centre(features, (2, 4)).tolist() == [[[[13, 14, 15, 16], [19, 20, 21, 22]]]]


def test_a_single_stage_is_refused():
    with pytest.raises(UserError, match='num_stages must be at least 2, but is 1'):
        UNetClassic(num_stages=1)
