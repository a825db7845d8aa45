import pytest
import torch
from torch import nn

from mmlayerwise.models.backbones import SegmentationVGG
from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_parameters,
    synthetic_checkpoint,
)

LARGE_FOV = dict(
    pool_kernel_size=3,
    pool_strides=(2, 2, 2, 1, 1),
    dilations=(1, 1, 1, 1, 2),
    fc_channels=(1024, 1024),
    fc_kernel_size=3,
    fc_dilation=12,
    fc_padded=True,
)
FRONT_END = dict(
    pool_strides=(2, 2, 2, None, None),
    dilations=(1, 1, 1, 1, 2),
    fc_dilation=4,
    conv_padded=False,
    input_padding=0,
    reflection_padding=186,
)
TINY = dict(widen_factor=1 / 16, fc_channels=(8, 8), fc_kernel_size=3)
CONVOLUTIONS = 14_714_688


def build(**kwargs) -> nn.Module:
    return build_on_meta(dict(type='SegmentationVGG', **kwargs))[0].eval()


def output_sizes(height: int, width: int, **kwargs) -> list[tuple[int, ...]]:
    image = torch.zeros(1, 3, height, width, device='meta')
    return [tuple(output.shape[1:]) for output in build(**kwargs)(image)]


@pytest.mark.parametrize(
    ('kwargs', 'parameters'),
    [
        (dict(fc_channels=(), out_indices=(4,)), CONVOLUTIONS),
        # Each convolution normalised: twice as many affine parameters as there are biases.
        (dict(fc_channels=(), out_indices=(4,), with_bn=True), CONVOLUTIONS + 2 * 4224),
        # The published counts with the classifiers of 21 classes.
        (dict(), 134_346_581 - 21 * 4097),
        (LARGE_FOV, 20_505_429 - 21 * 1025),
        (FRONT_END, 134_346_581 - 21 * 4097),
    ],
    ids=['plain', 'batch normalisation', 'FCN', 'LargeFOV', 'front end'],
)
def test_parameters(kwargs, parameters):
    assert count_parameters(dict(type='SegmentationVGG', **kwargs)) == parameters


@pytest.mark.parametrize(
    ('size', 'kwargs', 'expected'),
    [
        ((224, 224), dict(input_padding=1), [(4096, 1, 1)]),
        # Caffe's FCN: 500 + 198 = 698 -> 349 -> 175 -> 88 -> 44 -> 22, less 6.
        (
            (500, 375),
            dict(input_padding=100, out_indices=(2, 3, 5)),
            [(256, 88, 72), (512, 44, 36), (4096, 16, 12)],
        ),
        (
            (360, 480),
            dict(out_indices=(2, 3, 5), fc_padded=True),
            [(256, 45, 60), (512, 23, 30), (4096, 12, 15)],
        ),
        ((321, 321), LARGE_FOV, [(1024, 41, 41)]),
        ((528, 528), FRONT_END, [(4096, 66, 66)]),
    ],
    ids=['classifier', 'FCN', 'FCN of same size', 'LargeFOV', 'front end'],
)  # fmt: skip
def test_sizes(size, kwargs, expected):
    assert output_sizes(*size, **kwargs) == expected


def torchvision_shapes(with_bn: bool) -> dict[str, tuple[int, ...]]:
    shapes, channels, index = {}, 3, 0
    for width in (64, 64, 'M', 128, 128, 'M', *3 * (256,), 'M', *3 * (512,), 'M', *3 * (512,)):
        if width == 'M':
            index += 1
            continue
        shapes[f'features.{index}.weight'] = (width, channels, 3, 3)
        shapes[f'features.{index}.bias'] = (width,)
        if with_bn:
            for key in ('weight', 'bias', 'running_mean', 'running_var'):
                shapes[f'features.{index + 1}.{key}'] = (width,)
            shapes[f'features.{index + 1}.num_batches_tracked'] = ()
        channels, index = width, index + (3 if with_bn else 2)
    for index, shape in ((0, (4096, 25088)), (3, (4096, 4096)), (6, (1000, 4096))):
        shapes[f'classifier.{index}.weight'] = shape
        shapes[f'classifier.{index}.bias'] = shape[:1]
    return shapes


@pytest.mark.parametrize('with_bn', [False, True])
@pytest.mark.parametrize('kwargs', [dict(), LARGE_FOV, FRONT_END], ids=['FCN', 'LargeFOV', 'front'])
def test_torchvision_checkpoint_fits_name_by_name(kwargs, with_bn):
    backbone = build(with_bn=with_bn, **kwargs)
    shapes = torchvision_shapes(with_bn)
    checkpoint = {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}
    outcome = backbone.load_state_dict(checkpoint, strict=False)
    assert all('.bn.' in key for key in outcome.missing_keys)
    assert outcome.unexpected_keys == ['classifier.6.weight', 'classifier.6.bias']


def narrow_checkpoint() -> dict[str, torch.Tensor]:
    """A classifier like torchvision's with 32 channels before and 40 in its linear layers."""
    state = SegmentationVGG(widen_factor=1 / 16, fc_channels=(), out_indices=(4,)).state_dict()
    linear = {'classifier.0': (40, 32 * 49), 'classifier.3': (40, 40), 'classifier.6': (10, 40)}
    shapes = {f'{key}.weight': shape for key, shape in linear.items()}
    shapes |= {f'{key}.bias': shape[:1] for key, shape in linear.items()}
    return state | synthetic_checkpoint(shapes)


def test_fully_connected_layers_become_convolutions(tmp_path):
    checkpoint = narrow_checkpoint()
    torch.save(checkpoint, tmp_path / 'vgg.pth')
    backbone = SegmentationVGG(
        widen_factor=1 / 16,
        fc_channels=(40, 40),
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'vgg.pth')),
    ).eval()
    backbone.init_weights()
    image = torch.randn(2, 3, 224, 224)
    (outputs,) = backbone(image)

    hidden = backbone.features(image).flatten(1)
    for name in ('classifier.0', 'classifier.3'):
        hidden = (hidden @ checkpoint[f'{name}.weight'].T + checkpoint[f'{name}.bias']).relu()
    torch.testing.assert_close(outputs[..., 0, 0], hidden, rtol=1e-4, atol=1e-4)


def test_smaller_layers_take_every_nth_filter_and_position():
    checkpoint = narrow_checkpoint()
    backbone = SegmentationVGG(widen_factor=1 / 16, fc_channels=(10, 10), fc_kernel_size=3)
    backbone.load_state_dict(checkpoint, strict=False)
    whole = checkpoint['classifier.0.weight'].reshape(40, 32, 7, 7)
    assert torch.equal(backbone.fc6.conv.weight, whole[::4, :, ::3, ::3])
    assert torch.equal(backbone.fc6.conv.bias, checkpoint['classifier.0.bias'][::4])
    assert torch.equal(
        backbone.fc7.conv.weight[..., 0, 0], checkpoint['classifier.3.weight'][::4, ::4]
    )


def test_own_checkpoint_loads():
    one, other = SegmentationVGG(**TINY), SegmentationVGG(**TINY)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.fc6.conv.weight, one.fc6.conv.weight)


def test_switches_point_at_the_maxima():
    torch.manual_seed(0)
    backbone = SegmentationVGG(with_bn=True, return_switches=True, **TINY).eval()
    image = torch.randn(1, 3, 75, 66)
    features, switches = backbone(image)
    assert features.shape[1] == 8
    assert [one.size for one in switches] == [(75, 66), (38, 33), (19, 17), (10, 9), (5, 5)]
    before = backbone.features[:6](image)
    pooled = before.flatten(2).gather(2, switches[0].indices.flatten(2))
    expected = torch.nn.functional.max_pool2d(before, 2, ceil_mode=True)
    assert torch.equal(pooled, expected.flatten(2))


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(ceil_mode=False),
    dict(pool_kernel_size=3, pool_strides=(2, 2, 2, 1, 1)),
    dict(pool_strides=(2, 2, 2, None, None), conv_padded=False, input_padding=0),
    dict(pool_strides=(2, 2, 2, None, None), fc_padded=True, ceil_mode=False),
])  # fmt: skip
def test_smallest_image(kwargs):
    backbone = build(**{**TINY, **kwargs})
    smallest = backbone.smallest_input
    (output,) = backbone(torch.zeros(1, 3, smallest, smallest, device='meta'))
    assert tuple(output.shape) == (1, 8, 1, 1)
    with pytest.raises(UserError, match=f'at least {smallest}x{smallest}'):
        backbone(torch.zeros(1, 3, smallest, smallest - 1, device='meta'))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(out_indices=(6,)), r'out_indices are 0 to 5, not \[6\]'),
        (dict(fc_channels=()), r'out_indices are 0 to 4, not \[5\]'),
        (dict(fc_channels=(8,)), 'those of fc6 and fc7'),
        (dict(pool_kernel_size=4), '2 or 3, not 4'),
        (dict(pool_strides=(2, 2, 2, 2)), 'five of 1, 2 and None'),
        (dict(pool_strides=(2, 2, 2, 1, 1)), 'need pool_kernel_size=3'),
        (dict(return_switches=True, pool_kernel_size=3), 'needs 2x2 poolings'),
    ],
)
def test_contradictory_arguments_are_refused(kwargs, message):
    with pytest.raises(UserError, match=message):
        SegmentationVGG(**kwargs)
