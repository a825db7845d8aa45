import pytest
import torch
from mmengine.structures import PixelData
from torch.nn import functional as F

from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')
from mmseg.models.backbones import ResNetV1c
from mmseg.structures import SegDataSample

from mmlayerwise.models.decode_heads import DFNHead

NARROW = dict(in_channels=(4, 6, 8, 10), channels=8, border_channels=5, num_classes=3)


@pytest.fixture(scope='module')
def maps():
    torch.manual_seed(0)
    sides = (9, 5, 3, 2)  # of an odd image
    return [torch.randn(2, 4 + 2 * i, side, side + 1) for i, side in enumerate(sides)]


@pytest.fixture(scope='module')
def samples():
    torch.manual_seed(1)
    labels = torch.randint(3, (2, 1, 33, 37))
    labels[:, :, :12] = 1
    labels[:, :, 20:] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = DFNHead(**NARROW)
    head.init_weights()
    return head


def test_parameters_are_those_of_the_authors_layout():
    with meta_device():
        head = DFNHead(num_classes=21)
        trunk = ResNetV1c(depth=101, stem_channels=128)
    # The authors' border network has one more refinement, which no data passes through.
    unused = sum(p.numel() for p in head.border_refinements[0].parameters())
    of_head = sum(p.numel() for p in head.parameters())
    assert (of_head, of_head + unused) == (48_091_987, 48_100_408)
    assert of_head + unused + sum(p.numel() for p in trunk.parameters()) == 90_724_344


def test_both_networks_are_supervised_at_every_stage(head, maps, samples):
    losses = head.loss(maps, samples, {})
    names = {f'smooth{i}.{name}' for i in range(4) for name in ('loss_ce', 'acc_seg')}
    assert losses.keys() == names | {f'border{i}.loss_border' for i in range(4)}
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


@torch.no_grad()
def test_finest_scores_are_the_prediction(head, maps, samples):
    head.eval()
    scores = head(maps)
    assert scores.shape == (2, 3, 9, 10)
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
    enlarged = F.interpolate(scores, (33, 37), mode='bilinear')
    expected = F.cross_entropy(enlarged, labels, ignore_index=255, reduction='sum')
    actual = head.loss(maps, samples, {})['smooth0.loss_ce']
    torch.testing.assert_close(actual, expected / labels.numel())
    for name, parameter in head.named_parameters():
        if 'border' in name:
            parameter.zero_()
    assert torch.equal(head(maps), scores)


@torch.no_grad()
def test_smooth_network_starts_from_the_global_average(head, maps):
    """Through the attention, every position of each stage sees the whole coarsest map."""
    head.eval()
    maps = [m.clone().double() for m in maps]
    head.double()
    before = list(head.smooth_features(maps))
    maps[-1][:, :, 0, 0] += 1
    maps[-1][:, :, 1, 1] -= 1
    context = head.context(maps[-1].mean((2, 3), keepdim=True))
    assert [f.shape[-1] for f in before] == [3, 4, 6, 10]
    coarsest = head.smooth_stages[3](maps[-1], context.expand(-1, -1, 2, 3))
    torch.testing.assert_close(next(head.smooth_features(maps)), coarsest)


@torch.no_grad()
def test_border_network_goes_from_fine_to_coarse(head, maps):
    head.eval()
    before = list(head.border_scores(maps))
    assert all(scores.shape == (2, 1, 9, 10) for scores in before)
    for index in range(4):
        changed = [m + 1 if i == index else m for i, m in enumerate(maps)]
        differs = [
            not torch.equal(one, other)
            for one, other in zip(head.border_scores(changed), before, strict=True)
        ]
        assert differs == [stage >= index for stage in range(4)]
