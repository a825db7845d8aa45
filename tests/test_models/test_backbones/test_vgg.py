import pytest
import torch
from torch import nn

from mmlayerwise.models.backbones import VGG
from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_multiply_adds,
    count_parameters,
    stacked_head,
    synthetic_checkpoint,
)


@pytest.mark.parametrize(
    ('depth', 'with_bn', 'parameters'),
    [(11, False, 132_863_336), (16, False, 138_357_544), (16, True, 138_365_992)],
)
def test_parameters_with_the_papers_fully_connected_layers(depth, with_bn, parameters):
    backbone = {'type': 'VGG', 'depth': depth, 'with_bn': with_bn}
    assert count_parameters(backbone, stacked_head(512 * 7 * 7, 4096, 4096)) == parameters


def test_multiply_adds_on_cifar_are_those_of_the_literature():
    backbone, head = build_on_meta(
        {'type': 'VGG', 'depth': 16}, stacked_head(512, 512, 512, num_classes=10)
    )
    image = torch.zeros(1, 3, 32, 32, device='meta')
    convolutions = count_multiply_adds(backbone, image)
    assert convolutions == 313_196_544
    total = convolutions + count_multiply_adds(head, backbone(image))
    assert total == 313_725_952
    assert round(total / 1e6, 1) == 313.7


def test_stages_halve_the_resolution():
    (backbone,) = build_on_meta({'type': 'VGG', 'depth': 11, 'out_indices': range(5)})
    outputs = backbone(torch.zeros(1, 3, 64, 64, device='meta'))
    assert [tuple(output.shape[1:]) for output in outputs] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize('with_bn', [False, True])
def test_loads_torchvision_checkpoints(tmp_path, with_bn):
    # torchvision numbers the layers of "features" from 0, pooling included.
    shapes, channels, index = {}, 3, 0
    for width in (64, 'M', 128, 'M', 256, 256, 'M', 512, 512, 'M', 512, 512, 'M'):
        if width == 'M':
            index += 1
            continue
        shapes[f'features.{index}.weight'] = (width, channels, 3, 3)
        shapes[f'features.{index}.bias'] = (width,)
        if with_bn:
            for key in ('weight', 'bias', 'running_mean', 'running_var'):
                shapes[f'features.{index + 1}.{key}'] = (width,)
        channels, index = width, index + (3 if with_bn else 2)
    shapes['classifier.6.bias'] = (1000,)
    checkpoint = synthetic_checkpoint(shapes)
    torch.save(checkpoint, tmp_path / 'vgg11.pth')
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'vgg11.pth')}
    backbone = VGG(11, with_bn=with_bn, init_cfg=init_cfg)
    backbone.init_weights()
    state = backbone.state_dict()
    wanted = {key for key in state if not key.endswith('num_batches_tracked')}
    assert wanted == {key for key in checkpoint if key.startswith('features')}
    assert all(torch.equal(state[key], checkpoint[key]) for key in wanted)


def test_initialises_as_kaiming():
    torch.manual_seed(0)
    backbone = VGG(11)
    backbone.init_weights()
    last = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)][-1]
    assert last.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert last.bias.abs().sum() == 0


def test_batch_normalisation_is_trained_unless_asked_otherwise():
    def trained(**kwargs) -> set[bool]:
        backbone = VGG(11, with_bn=True, **kwargs).train()
        return {m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)}

    assert trained() == {True}
    assert trained(norm_eval=True) == {False}


def test_frozen_stages_receive_no_gradient():
    backbone = VGG(11, frozen_stages=2).train()
    frozen = [name for name, p in backbone.named_parameters() if not p.requires_grad]
    assert frozen == [
        'features.0.weight',
        'features.0.bias',
        'features.3.weight',
        'features.3.bias',
    ]


def test_a_factor_scales_the_channels_of_every_convolution():
    (backbone,) = build_on_meta(
        {'type': 'VGG', 'depth': 16, 'with_bn': True, 'widen_factor': 0.25, 'ceil_mode': True}
    )
    whole = VGG(16, with_bn=True)
    for small, large in zip(backbone.modules(), whole.modules(), strict=True):
        if isinstance(large, nn.Conv2d):
            assert small.out_channels * 4 == large.out_channels
            assert small.in_channels == (3 if large.in_channels == 3 else large.in_channels // 4)
            assert (small.kernel_size, small.padding) == (large.kernel_size, large.padding)
        if isinstance(large, nn.BatchNorm2d):
            assert small.num_features * 4 == large.num_features
    (features,) = backbone(torch.zeros(2, 3, 16, 16, device='meta'))
    assert features.shape == (2, 128, 1, 1)


def test_ceil_mode_changes_nothing_where_32_divides_the_image():
    torch.manual_seed(0)
    plain, ceiled = (VGG(11, widen_factor=1 / 16, ceil_mode=mode) for mode in (False, True))
    ceiled.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 32)
    assert torch.equal(plain(images)[0], ceiled(images)[0])


def test_a_factor_of_zero_is_refused():
    with pytest.raises(UserError, match='widen_factor must be positive, but is 0'):
        VGG(11, widen_factor=0)
