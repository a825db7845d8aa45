import pytest
import torch

from mmlayerwise.models.backbones import GoogLeNet
from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_multiply_adds,
    count_parameters,
    linear_head,
    synthetic_checkpoint,
)

CIFAR_FORM = {'type': 'GoogLeNet', 'stem': 'cifar', 'large_kernel': '3x3-3x3'}


def test_parameters():
    head = linear_head(1024)
    auxiliary = [
        {'type': 'GoogLeNetAuxiliaryHead', 'num_classes': 1000, 'in_channels': channels}
        for channels in (512, 528)
    ]
    torchvision = {'type': 'GoogLeNet', 'large_kernel': '3x3'}
    assert count_parameters(torchvision, head) == 6_624_904
    assert count_parameters(torchvision, head, *auxiliary) == 13_004_888
    assert count_parameters({'type': 'GoogLeNet', 'norm_cfg': None}, head) == 6_998_552


def test_multiply_adds_on_cifar_are_those_of_the_literature():
    (backbone,) = build_on_meta(CIFAR_FORM)
    total = count_multiply_adds(backbone, torch.zeros(1, 3, 32, 32, device='meta'))
    assert total == 1_521_745_920
    assert count_parameters(CIFAR_FORM, linear_head(1024, 10)) == 6_158_346


def test_shapes_are_those_of_table_1():
    (backbone,) = build_on_meta({'type': 'GoogLeNet', 'out_indices': range(9)})
    outputs = backbone(torch.zeros(1, 3, 224, 224, device='meta'))
    assert [(output.shape[1], output.shape[3]) for output in outputs] == [
        (256, 28), (480, 28), (512, 14), (512, 14), (512, 14), (528, 14), (832, 14), (832, 7),
        (1024, 7),
    ]  # fmt: skip


def test_response_normalisation_only_without_batch_normalisation():
    kinds = [
        {
            type(m).__name__
            for m in build_on_meta({'type': 'GoogLeNet', 'norm_cfg': norm})[0].modules()
        }
        for norm in (None, {'type': 'BN'})
    ]
    assert ['LocalResponseNorm' in kind for kind in kinds] == [True, False]
    assert ['BatchNorm2d' in kind for kind in kinds] == [False, True]


def torchvision_shapes() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of torchvision's GoogLeNet without its auxiliary classifiers."""
    from mmlayerwise.models.backbones.googlenet import BLOCKS

    convolutions = {'conv1': (64, 3, 7), 'conv2': (64, 64, 1), 'conv3': (192, 64, 3)}
    channels = 192
    for name, (one, reduce3, three, reduce5, five, projection) in BLOCKS.items():
        block = f'inception{name}'
        convolutions |= {
            f'{block}.branch1': (one, channels, 1),
            f'{block}.branch2.0': (reduce3, channels, 1),
            f'{block}.branch2.1': (three, reduce3, 3),
            f'{block}.branch3.0': (reduce5, channels, 1),
            f'{block}.branch3.1': (five, reduce5, 3),
            f'{block}.branch4.1': (projection, channels, 1),
        }
        channels = one + three + five + projection
    shapes = {'fc.weight': (1000, 1024)}
    for name, (after, before, kernel) in convolutions.items():
        shapes[f'{name}.conv.weight'] = (after, before, kernel, kernel)
        for key in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{name}.bn.{key}'] = (after,)
    return shapes


def test_loads_torchvision_checkpoints(tmp_path):
    checkpoint = synthetic_checkpoint(torchvision_shapes())
    torch.save(checkpoint, tmp_path / 'googlenet.pth')
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'googlenet.pth')}
    backbone = GoogLeNet(large_kernel='3x3', init_cfg=init_cfg)
    backbone.init_weights()
    state = backbone.state_dict()
    wanted = {key for key in state if not key.endswith('num_batches_tracked')}
    assert wanted == checkpoint.keys() - {'fc.weight'}
    assert all(torch.equal(state[key], checkpoint[key]) for key in wanted)


def test_unknown_kernel_lists_the_known_ones():
    with pytest.raises(UserError, match="'5x5', '3x3', '3x3-3x3', but is '7x7'"):
        GoogLeNet(large_kernel='7x7')


def test_a_factor_scales_the_channels_of_every_convolution():
    narrow, whole = (
        build_on_meta({**CIFAR_FORM, 'widen_factor': factor})[0] for factor in (0.125, 1.0)
    )
    image = torch.zeros(1, 3, 32, 32, device='meta')
    assert narrow(image)[-1].shape == (1, 128, 8, 8)
    shapes = dict(whole.named_parameters())
    for name, parameter in narrow.named_parameters():
        before = shapes[name].shape
        assert parameter.shape[0] * 8 == before[0]
        if parameter.ndim == 4 and before[1] != 3:
            assert parameter.shape[1] * 8 == before[1]
            assert parameter.shape[2:] == before[2:]


def test_a_factor_that_breaks_a_branch_is_refused():
    with pytest.raises(UserError, match=r'multiple of 1/8, but is 0\.3'):
        GoogLeNet(widen_factor=0.3)
