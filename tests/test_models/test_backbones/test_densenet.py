import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmlayerwise.models.backbones import DenseNet
from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_multiply_adds,
    count_parameters,
    linear_head,
    synthetic_checkpoint,
)

TINY = dict(block_layers=(2, 1, 2, 1), growth_rate=4, stem_channels=8)
BATCH_NORM = ('weight', 'bias', 'running_mean', 'running_var')


def build(**kwargs) -> nn.Module:
    return build_on_meta(dict(type='mmlayerwise.DenseNet', **kwargs))[0].eval()


@pytest.mark.parametrize(
    ('depth', 'width', 'parameters'),
    # Those of torchvision's classifiers.
    [(121, 1024, 7_978_856), (161, 2208, 28_681_000), (169, 1664, 14_149_480),
     (201, 1920, 20_013_928)],
)  # fmt: skip
def test_parameters_of_the_classifiers(depth, width, parameters):
    config = dict(type='mmlayerwise.DenseNet', depth=depth)
    assert count_parameters(config, linear_head(width)) == parameters
    assert build(depth=depth).out_channels[-1] == width


@pytest.mark.parametrize(
    ('kwargs', 'features'), [(dict(depth=161), 26_472_000), (dict(depth=169), 12_484_480)]
)
def test_dilation_changes_no_parameters(kwargs, features):
    config = dict(type='mmlayerwise.DenseNet', strides=(2, 1, 1), dilations=(1, 1, 2, 4), **kwargs)
    assert count_parameters(config) == features
    without_norm = features - 2 * build(**kwargs).out_channels[-1]
    assert count_parameters({**config, 'final_norm': False}) == without_norm


def test_multiply_adds_of_densenet_121():
    # Growth of 32, bottlenecks of 128, on 224x224; without its linear layer, 2.83 billion.
    total, channels, size = 49 * 3 * 64 * 112**2, 64, 56
    for block, layers in enumerate((6, 12, 24, 16)):
        if block:
            total += channels * (channels // 2) * size**2
            channels, size = channels // 2, size // 2
        total += sum(
            ((channels + 32 * layer) * 128 + 9 * 128 * 32) * size**2 for layer in range(layers)
        )
        channels += 32 * layers
    assert channels == 1024
    image = torch.zeros(1, 3, 224, 224, device='meta')
    assert count_multiply_adds(build(), image) == total


@pytest.mark.parametrize(
    ('kwargs', 'expected'),
    [
        (dict(), [(256, 16), (512, 8), (1024, 4), (1024, 2)]),
        (dict(strides=(2, 2, 1), dilations=(1, 1, 1, 2)), [(256, 16), (512, 8), (1024, 4),
                                                           (1024, 4)]),
        (dict(strides=(2, 1, 1), dilations=(1, 1, 2, 4), out_indices=(3, 0)), [(1024, 8),
                                                                               (256, 16)]),
    ],
)  # fmt: skip
def test_taps(kwargs, expected):
    outputs = build(**kwargs)(torch.zeros(1, 3, 64, 64, device='meta'))
    assert [(output.shape[1], output.shape[2]) for output in outputs] == expected


def test_blocks_behind_the_last_tap_are_left_out():
    names = {name.split('.')[1] for name, _ in build(out_indices=(0, 1)).named_parameters()}
    assert names == {'conv0', 'norm0', 'denseblock1', 'transition1', 'denseblock2', 'norm5'}


def reference(state: dict[str, torch.Tensor], image: torch.Tensor, dilations) -> list[torch.Tensor]:
    """The network of ``TINY`` by the paper's formulas, the last transition without pooling."""

    def activate(name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias, mean, var = (state[f'{name}.{key}'][:, None, None] for key in BATCH_NORM)
        return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).relu()

    features = F.conv2d(image, state['conv0.weight'], stride=2, padding=3)
    features = F.max_pool2d(activate('norm0', features), 3, 2, 1)
    outputs = []
    for block, (layers, dilation) in enumerate(zip(TINY['block_layers'], dilations, strict=True)):
        if block:
            name = f'transition{block}'
            compressed = F.conv2d(activate(f'{name}.norm', features), state[f'{name}.conv.weight'])
            features = F.avg_pool2d(compressed, 2) if block < 3 else compressed
        maps = [features]
        for layer in range(layers):
            name = f'denseblock{block + 1}.denselayer{layer + 1}'
            new = activate(f'{name}.norm1', torch.cat(maps, 1))
            new = activate(f'{name}.norm2', F.conv2d(new, state[f'{name}.conv1.weight']))
            weight = state[f'{name}.conv2.weight']
            maps.append(F.conv2d(new, weight, padding=dilation, dilation=dilation))
        features = torch.cat(maps, 1)
        outputs.append(features)
    outputs[-1] = activate('norm5', features)
    return outputs


def tiny_checkpoint() -> dict[str, torch.Tensor]:
    """Keys and shapes as torchvision names them today, with a classifier."""
    shapes = {key: tuple(value.shape) for key, value in DenseNet(**TINY).state_dict().items()}
    shapes |= {'classifier.weight': (10, 12), 'classifier.bias': (10,)}
    return synthetic_checkpoint(shapes)


def in_old_spelling(key: str) -> str:
    parts = key.split('.')
    if 'denselayer' in key:
        parts[3] = f'{parts[3][:-1]}.{parts[3][-1]}'
    return '.'.join(parts)


@pytest.mark.parametrize('old', [False, True], ids=['new keys', 'old keys'])
def test_torchvision_checkpoint_computes_the_same(tmp_path, old):
    state = tiny_checkpoint()
    torch.save(
        {in_old_spelling(k) if old else k: v for k, v in state.items()}, tmp_path / 'densenet.pth'
    )
    dilations = (1, 1, 1, 2)
    backbone = DenseNet(
        **TINY,
        strides=(2, 2, 1),
        dilations=dilations,
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'densenet.pth')),
    )
    backbone.init_weights()
    image = torch.randn(2, 3, 50, 70, dtype=torch.float64)
    outputs = backbone.double().eval()(image)
    plain = {key.removeprefix('features.'): value.double() for key, value in state.items()}
    for output, expected in zip(outputs, reference(plain, image, dilations), strict=True):
        torch.testing.assert_close(output, expected)


def torchvision_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    growth, channels = (48, 96) if depth == 161 else (32, 64)
    layers = {121: (6, 12, 24, 16), 161: (6, 12, 36, 24), 169: (6, 12, 32, 32),
              201: (6, 12, 48, 32)}[depth]  # fmt: skip
    shapes = {'features.conv0.weight': (channels, 3, 7, 7)}

    def add_norm(name: str, width: int) -> None:
        shapes.update({f'{name}.{key}': (width,) for key in BATCH_NORM})

    add_norm('features.norm0', channels)
    for block, count in enumerate(layers, 1):
        for layer in range(1, count + 1):
            name = f'features.denseblock{block}.denselayer{layer}'
            add_norm(f'{name}.norm.1', channels)
            shapes[f'{name}.conv.1.weight'] = (4 * growth, channels, 1, 1)
            add_norm(f'{name}.norm.2', 4 * growth)
            shapes[f'{name}.conv.2.weight'] = (growth, 4 * growth, 3, 3)
            channels += growth
        if block < 4:
            add_norm(f'features.transition{block}.norm', channels)
            shapes[f'features.transition{block}.conv.weight'] = (channels // 2, channels, 1, 1)
            channels //= 2
    add_norm('features.norm5', channels)
    return shapes | {'classifier.weight': (1000, channels), 'classifier.bias': (1000,)}


@pytest.mark.parametrize('depth', [121, 161, 169, 201])
def test_torchvision_checkpoint_fits_name_by_name(depth):
    shapes = torchvision_shapes(depth)
    checkpoint = {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}
    outcome = build(depth=depth).load_state_dict(checkpoint, strict=False)
    # Counters of batches, which came with a later version of PyTorch.
    assert all(key.endswith('num_batches_tracked') for key in outcome.missing_keys)
    assert outcome.unexpected_keys == ['classifier.weight', 'classifier.bias']


def test_computing_anew_changes_neither_gradients_nor_statistics():
    torch.manual_seed(0)
    plain = DenseNet(**TINY)
    saving = DenseNet(**TINY, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 64, 64)
    gradients = []
    for backbone in (plain, saving):
        sum(output.square().mean() for output in backbone(image)).backward()
        gradients.append([parameter.grad for parameter in backbone.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
        assert one.any()
    for one, other in zip(plain.buffers(), saving.buffers(), strict=True):
        if one.is_floating_point():
            torch.testing.assert_close(one, other)


def test_frozen_statistics():
    backbone = DenseNet(**TINY, norm_eval=True).train()
    before = backbone.features.norm0.running_mean.clone()
    backbone(torch.randn(2, 3, 64, 64))
    assert torch.equal(backbone.features.norm0.running_mean, before)
    assert backbone.training


@pytest.mark.parametrize(
    ('kwargs', 'smallest'),
    [(dict(), 29), (dict(strides=(2, 1, 1)), 5), (dict(out_indices=(0,)), 1)],
)
def test_smallest_image(kwargs, smallest):
    backbone = build(**TINY, **kwargs)
    output = backbone(torch.zeros(1, 3, smallest, smallest, device='meta'))[-1]
    assert tuple(output.shape[2:]) == (1, 1)
    if smallest > 1:
        with pytest.raises(UserError, match=f'{smallest - 1}x{smallest} .*at least {smallest}x'):
            backbone(torch.zeros(1, 3, smallest, smallest - 1, device='meta'))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(depth=120), 'depth is 121, 161, 169 or 201, not 120'),
        (dict(out_indices=(4,)), r'out_indices are 0 to 3, not \[4\]'),
        (dict(strides=(2, 2)), r'three of 1 and 2, not \[2, 2\]'),
        (dict(dilations=(1, 2)), r'those of four blocks, not \[1, 2\]'),
    ],
)
def test_impossible_arguments_are_refused(kwargs, message):
    with pytest.raises(UserError, match=message):
        DenseNet(**kwargs)
