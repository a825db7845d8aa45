import pytest
import torch
from torch.nn import functional as F

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')
from mmlayerwise.models.backbones import DenseNet
from mmlayerwise.models.decode_heads import SDNHead

SMALL = dict(
    in_channels=(3, 4, 5),
    unit_channels=(6, 7, 8),
    growth_rate=2,
    down_layers=(1, 2),
    up_layers=(1, 1),
    num_classes=3,
)


def small_head(num_units: int) -> SDNHead:
    torch.manual_seed(0)
    return SDNHead(num_units=num_units, **SMALL).double().eval()


def small_maps(height: int = 11, width: int = 14) -> list[torch.Tensor]:
    sizes = [(height >> level, width >> level) for level in range(3)]
    return [
        torch.randn(1, 3 + level, *size, dtype=torch.float64) for level, size in enumerate(sizes)
    ]


def convolutions(in_channels: int, out_channels: int | None, layers: int) -> int:
    """Parameters of a block of the paper's width: layers of 48 channels and a compression."""
    total = 0
    for _ in range(layers):
        total += 2 * in_channels + 9 * in_channels * 48  # normalised before the convolution
        in_channels += 48
    return total + (9 * in_channels * out_channels + out_channels if out_channels else 0)


@pytest.mark.parametrize('num_units', [1, 2, 3])
def test_parameters_of_the_stacked_units(num_units):
    with meta_device():
        head = SDNHead(num_units=num_units, num_classes=21)
    down = convolutions(576 + 768, 768, 2) + convolutions(768 + 1024, 1024, 4)
    deconvolutions = 16 * 1024**2 + 1024 + 16 * 768**2 + 768
    coarse_up = convolutions(1024 + 768, 768, 2)
    up = deconvolutions + coarse_up + convolutions(768 + 384, 576, 2)
    last_up = deconvolutions + coarse_up + convolutions(768 + 384, None, 2)
    scores = 9 * 21 * (num_units * 768 + (num_units - 1) * 576 + 768 + 384 + 2 * 48)
    biases = 2 * num_units * 21
    expected = 9 * 2112 * 1024 + 1024 + (num_units - 1) * (down + up) + last_up + scores + biases
    assert sum(p.numel() for p in head.parameters()) == expected


def layer(module, features):
    # Fresh statistics: mean 0 and variance 1.
    activated = (features / (1 + 1e-5) ** 0.5).relu()
    return torch.cat([features, F.conv2d(activated, module.conv.weight, padding=1)], 1)


def block(module, *maps):
    *layers, last = module
    features = torch.cat(maps, 1)
    for one in layers:
        features = layer(one, features)
    if isinstance(last, torch.nn.Conv2d):
        return F.conv2d(features, last.weight, last.bias, padding=1)
    return layer(last, features)


def up(module, features, skip):
    deconv = module.deconv
    padding = [size - 2 * own for size, own in zip(skip.shape[2:], features.shape[2:], strict=True)]
    enlarged = F.conv_transpose2d(
        features, deconv.weight, deconv.bias, stride=2, padding=1, output_padding=padding
    )
    return block(module.block, enlarged, skip)


@torch.no_grad()
def test_two_units_by_the_paper():
    head, maps = small_head(2), small_maps()
    fine, middle, coarse = maps
    first_16 = F.conv2d(coarse, head.compress.weight, head.compress.bias, padding=1)
    first_8 = up(head.decoders[0][1], first_16, middle)
    first_4 = up(head.decoders[0][0], first_8, fine)
    second_8_down = block(head.encoders[0][0].block, F.max_pool2d(first_4, 2), first_8)
    second_16 = block(head.encoders[0][1].block, F.max_pool2d(second_8_down, 2), first_16)
    second_8 = up(head.decoders[1][1], second_16, middle)
    second_4 = up(head.decoders[1][0], second_8, fine)
    # Not compressed: of 7 + 3 + 2 channels.
    assert second_4.shape == (1, 12, 11, 14)

    def score(unit, level, features):
        classifier = head.classifiers[unit][level]
        return F.conv2d(features, classifier.weight, classifier.bias, padding=1)

    of_8, of_4 = score(0, 1, first_8), score(0, 0, first_4)
    expected = [of_8, of_4, of_8 + score(1, 1, second_8), of_4 + score(1, 0, second_4)]
    actual = head.stage_scores(maps)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(head(maps), expected[-1])


@pytest.mark.parametrize('num_units', [1, 2, 3])
def test_two_maps_are_supervised_in_each_unit(num_units):
    sizes = [tuple(one.shape[2:]) for one in small_head(num_units).stage_scores(small_maps())]
    assert sizes == num_units * [(5, 7), (11, 14)]


def test_everything_is_trained_on_images_of_odd_size():
    torch.manual_seed(0)
    trunk = DenseNet(
        block_layers=(1, 1, 1, 1),
        growth_rate=4,
        stem_channels=8,
        out_indices=(0, 1, 2),
        final_norm=False,
    )
    head = SDNHead(**{**SMALL, 'in_channels': trunk.out_channels})
    for module in (trunk, head):
        module.init_weights()
    scores = head.stage_scores(trunk(torch.randn(2, 3, 75, 101)))
    assert scores[-1].shape == (2, 3, 19, 26)
    sum(one.square().mean() for one in scores).backward()
    assert all(p.grad.any() for p in [*trunk.parameters(), *head.parameters()])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_units=0), 'at least 1, not 0'),
        (dict(unit_channels=(6, 7)), r'not \[3, 4, 5\] and \[6, 7\]'),
        (dict(down_layers=(1,)), r'those of 2 blocks, not \[1\] and \[1, 1\]'),
    ],
)
def test_contradictory_arguments_are_refused(kwargs, message):
    with pytest.raises(UserError, match=message):
        SDNHead(**{**SMALL, **kwargs})
