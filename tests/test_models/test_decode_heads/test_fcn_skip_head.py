import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip('mmseg')

from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmlayerwise.models.backbones import SegmentationVGG
from mmlayerwise.models.decode_heads import FCNSkipHead
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

CHANNELS = (4096, 512, 256)
TINY = (8, 32, 16)
PADDED = dict(input_padding=100, fc_padded=False)
ALIGNED = dict(input_padding=1, fc_padded=True)


def build(scales: int, channels: tuple[int, ...] = CHANNELS, **kwargs) -> FCNSkipHead:
    in_index = tuple(reversed(range(scales)))
    return FCNSkipHead(channels[:scales], in_index, **{'num_classes': 21, **kwargs})


@pytest.mark.parametrize(
    ('scales', 'convolutions', 'all_learned'),
    [
        (1, 134_346_581, 136_152_917),
        (2, 134_357_354, 134_815_994),
        (3, 134_362_751, 134_489_759),
    ],
    ids=['32s', '16s', '8s'],
)
def test_parameters_are_the_published_ones(scales, convolutions, all_learned):
    with meta_device():
        trunk = SegmentationVGG(input_padding=100)
        heads = {which: build(scales, learned_upsampling=which) for which in ('none', 'all')}
    count = {
        which: sum(p.numel() for p in nn.ModuleList([trunk, head]).parameters())
        for which, head in heads.items()
    }
    assert count == {'none': convolutions, 'all': all_learned}


@pytest.mark.parametrize(
    ('kwargs', 'skip_crops', 'crops'),
    # The offsets of the released networks, and those of maps that keep the geometry.
    [(PADDED, [5, 9], [19, 27, 31]), (ALIGNED, [-1, -1], [16, 8, 4])],
    ids=['padding of 100', 'same size'],
)
def test_crops(kwargs, skip_crops, crops):
    heads = [build(scales, TINY, **kwargs) for scales in (1, 2, 3)]
    assert heads[2].skip_crops == skip_crops
    assert [head.crop for head in heads] == crops


@pytest.mark.parametrize('scales', [1, 2, 3])
@pytest.mark.parametrize('kwargs', [PADDED, ALIGNED], ids=['padding of 100', 'same size'])
@pytest.mark.parametrize('size', [(64, 96), (53, 75)])
def test_scores_cover_the_image(size, kwargs, scales):
    outputs = {1: (5,), 2: (3, 5), 3: (2, 3, 5)}[scales]
    with meta_device():
        trunk = SegmentationVGG(
            out_indices=outputs, widen_factor=1 / 16, fc_channels=(8, 8), **kwargs
        )
        head = build(scales, TINY, **kwargs)
        scores = head(trunk(torch.zeros(1, 3, *size)))
    assert all(have >= want for have, want in zip(scores.shape[2:], size, strict=True))
    metas = [dict(img_shape=size, pad_shape=size)]
    assert head.predict_by_feat(scores, metas).shape == (1, 21, *size)


@pytest.mark.parametrize(
    ('meta', 'size'),
    [
        (dict(img_shape=(30, 40)), (30, 40)),
        (dict(img_shape=(30, 40), pad_shape=(32, 48)), (32, 48)),
        # A window of mmseg's sliding inference.
        (dict(img_shape=torch.Size((16, 24)), pad_shape=(32, 48)), (16, 24)),
    ],
    ids=['not padded', 'padded', 'window'],
)
def test_scores_are_cropped_to_the_input(meta, size):
    head, scores = build(1, TINY, num_classes=3), torch.randn(1, 3, 64, 64)
    cropped = head.predict_by_feat(scores, [meta])
    assert torch.equal(cropped, scores[..., : size[0], : size[1]])


def test_equals_interpolation_of_the_sum_of_scores():
    torch.manual_seed(0)
    head = build(3, TINY, num_classes=3, skip_scales=(0.5, 0.25)).double()
    head.init_weights()
    for layer in (head.conv_seg, *head.skip_scores):
        nn.init.normal_(layer.weight)
    maps = [torch.randn(1, c, s, s).double() for c, s in zip(TINY, (4, 8, 16), strict=True)]
    actual = head(tuple(reversed(maps)))[..., :128, :128]

    def score(layer: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
        return torch.einsum('oi,nihw->nohw', layer.weight[..., 0, 0], features)

    def enlarge(scores: torch.Tensor, factor: int) -> torch.Tensor:
        return F.interpolate(scores, scale_factor=factor, mode='bilinear')

    expected = enlarge(score(head.conv_seg, maps[0]), 2) + 0.5 * score(head.skip_scores[0], maps[1])
    expected = enlarge(expected, 2) + 0.25 * score(head.skip_scores[1], maps[2])
    expected = enlarge(expected, 8)
    # At the margin the transposed convolution takes zeros for what lies outside.
    inner = (..., slice(32, -32), slice(32, -32))
    torch.testing.assert_close(actual[inner], expected[inner])


@pytest.mark.parametrize('scales', [1, 2], ids=['16s from 32s', '8s from 16s'])
def test_finer_network_starts_with_the_predictions_of_the_coarser(scales, tmp_path):
    torch.manual_seed(0)

    def network(scales: int) -> nn.ModuleDict:
        trunk = SegmentationVGG(
            out_indices=(2, 3, 5)[-scales:], widen_factor=1 / 16, fc_channels=(8, 8), **ALIGNED
        )
        modules = nn.ModuleDict(
            dict(backbone=trunk, decode_head=build(scales, TINY, num_classes=3))
        )
        for module in modules.values():
            module.init_weights()
        return modules.eval()

    coarse, fine = network(scales), network(scales + 1)
    for layer in (coarse.decode_head.conv_seg, *coarse.decode_head.skip_scores):
        nn.init.normal_(layer.weight)
    # As `load_from` of a config does.
    torch.save(dict(state_dict=coarse.state_dict()), tmp_path / 'coarse.pth')
    load_checkpoint(fine, str(tmp_path / 'coarse.pth'))

    loaded = fine.state_dict()
    for name, value in coarse.state_dict().items():
        assert torch.equal(loaded[name], value), name
    score, upsample = f'skip_scores.{scales - 1}', f'skip_upsamples.{scales - 1}'
    assert set(loaded) - set(coarse.state_dict()) == {
        f'decode_head.{name}' for name in (f'{score}.weight', f'{score}.bias', f'{upsample}.weight')
    }
    assert not loaded[f'decode_head.{score}.weight'].any()

    sums = []  # Of scores, before the last enlarging.
    coarse.decode_head.upsample.register_forward_pre_hook(lambda _, inputs: sums.append(inputs[0]))
    image = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        coarse.decode_head(coarse.backbone(image))
        scores = fine.decode_head(fine.backbone(image))[..., :256, :256]
    expected = F.interpolate(sums[0], scale_factor=2, mode='bilinear')
    expected = F.interpolate(expected, size=(256, 256), mode='bilinear')
    inner = (..., slice(64, -64), slice(64, -64))
    assert expected[inner].std() > 1e-3
    torch.testing.assert_close(scores[inner], expected[inner])


def test_loss_looks_at_the_image_alone():
    head = build(1, TINY, num_classes=3)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 10, 12))))
    scores = torch.randn(1, 3, 40, 50, requires_grad=True)
    loss = head.loss_by_feat(scores, [sample])['loss_ce']
    cropped = scores[..., :10, :12].double()
    chosen = cropped.log_softmax(1).gather(1, sample.gt_sem_seg.data[None])
    torch.testing.assert_close(loss.double(), -chosen.mean())
    loss.backward()
    assert not scores.grad[..., 10:, :].any()
    assert not scores.grad[..., 12:].any()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(in_channels=(8, 8), in_index=(0,)), 'name fc7'),
        (dict(in_channels=(), in_index=()), 'name fc7'),
        (dict(learned_upsampling='some'), "not 'some'"),
    ],
)
def test_contradictory_arguments_are_refused(kwargs, message):
    with pytest.raises(UserError, match=message):
        FCNSkipHead(num_classes=21, **kwargs)
