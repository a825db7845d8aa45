import pytest
import torch

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')
from mmseg.models.backbones import ResNet

from mmlayerwise.models.decode_heads import SPGHead

ENCODER = dict(type='mmlayerwise.StemlessResNet', depth=18, base_channels=4, stem_channels=8)
SMALL = dict(in_channels=(4, 8, 16, 32), channels=8, num_classes=3, encoder=ENCODER)


def small_maps(images: int = 2) -> list[torch.Tensor]:
    sizes = ((4, 19, 26), (8, 10, 13), (16, 5, 7), (32, 3, 4))
    return [torch.randn(images, *size) for size in sizes]


@pytest.mark.parametrize('num_stages', [1, 2, 3])
def test_parameters_of_the_stages(num_stages):
    encoder = dict(type='mmlayerwise.StemlessResNet', depth=50)
    with meta_device():
        head = SPGHead(encoder, num_stages=num_stages, num_classes=19)
    widths, total = (256, 512, 1024, 2048), 256 + 512 + 1024 + 2048
    # 1x1 to 64, 3x3 and 1x1 to 256, each normalised.
    bottleneck = 256 * 64 + 9 * 64**2 + 64 * 256 + 2 * (64 + 64 + 256)
    laterals = 256 * total + 4 * 2 * 256
    decoder = laterals + 256 * 2048 + 256 + 4 * bottleneck
    guidance = 256 * 19 + 19 + 19 * 256 + 256
    links = sum(width**2 + 256 * width + 4 * width for width in widths)
    entrance = 256 * 64 + 2 * 64
    stage = guidance + entrance + 23_498_496 + links
    expected = num_stages * decoder + (num_stages - 1) * stage + 256 * 19 + 19
    assert sum(p.numel() for p in head.parameters()) == expected


@torch.no_grad()
def test_second_stage_reads_the_first_at_every_resolution():
    torch.manual_seed(0)
    head, maps = SPGHead(**SMALL).eval(), small_maps()
    decoded = head.decoders[0](maps)
    guided, first = head.guidances[0](decoded[0])
    features, encoded = head.entrances[0](guided), []
    for stage, below in enumerate((guided, *decoded[1:])):
        features = getattr(head.encoders[0], f'layer{stage + 1}')(features)
        features = features + head.encoder_links[0][stage](maps[stage])
        features = features + head.decoder_links[0][stage](below)
        encoded.append(features)
    second = head.classifier(head.decoders[1](encoded)[0])
    actual = head.stage_scores(maps)
    assert len(actual) == 2
    torch.testing.assert_close(actual[0], first)
    torch.testing.assert_close(actual[1], second)
    assert torch.equal(head(maps), actual[1])


@torch.no_grad()
def test_one_stage_is_an_encoder_decoder():
    head, maps = SPGHead(num_stages=1, **SMALL).eval(), small_maps()
    (scores,) = head.stage_scores(maps)
    assert torch.equal(scores, head.classifier(head.decoders[0](maps)[0]))
    assert not head.encoders
    assert not head.guidances


def test_everything_is_trained_on_images_of_odd_size():
    torch.manual_seed(0)
    trunk = ResNet(18, base_channels=4, stem_channels=8, zero_init_residual=False)
    head = SPGHead(**{**SMALL, 'encoder': {**ENCODER, 'zero_init_residual': False}}, num_stages=3)
    for module in (trunk, head):
        module.init_weights()
    scores = head.stage_scores(trunk(torch.randn(2, 3, 75, 101)))
    assert [tuple(one.shape) for one in scores] == 3 * [(2, 3, 19, 26)]
    sum(one.square().mean() for one in scores).backward()
    assert all(p.grad.any() for p in [*trunk.parameters(), *head.parameters()])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_stages=0), 'num_stages is at least 1, not 0'),
        (dict(channels=6), 'a multiple of 4, not 6'),
    ],
)
def test_impossible_arguments_are_refused(kwargs, message):
    with pytest.raises(UserError, match=message):
        SPGHead(**{**SMALL, **kwargs})
