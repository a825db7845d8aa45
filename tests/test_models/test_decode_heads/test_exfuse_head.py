import pytest
import torch
from mmengine.structures import PixelData
from torch.nn import functional as F

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')
from mmseg.structures import SegDataSample

from mmlayerwise.models.decode_heads import ExFuseHead, GCNHead

WIDTHS = [256, 512, 1024, 2048]
NARROW = dict(in_channels=[4, 6, 8, 10], num_classes=3, kernel_size=3)


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = ExFuseHead(**NARROW)
    head.init_weights()
    return head


@pytest.fixture
def maps():
    torch.manual_seed(0)
    sizes = ((15, 17), (8, 9), (4, 5), (2, 3))  # of an odd image
    return [torch.randn(2, 4 + 2 * i, *size) for i, size in enumerate(sizes)]


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_beyond_those_of_the_global_convolutional_network():
    with meta_device():
        exfuse, gcn = (kind(WIDTHS, num_classes=21) for kind in (ExFuseHead, GCNHead))
    pairs = [(fine, coarse) for fine in WIDTHS for coarse in WIDTHS if coarse > fine]
    branches = sum(9 * fine * coarse + fine for fine, coarse in pairs)
    neighbours = 9 * 21 * 189 + 189

    def coarsest(classes):
        thin = 15 * 2048 * classes + 15 * classes * classes + 2 * classes
        return 2 * thin + 2 * (9 * classes * classes + classes)

    expected = count(gcn) + branches + neighbours + coarsest(84) - coarsest(21)
    assert count(exfuse) == expected == 48_059_300
    assert exfuse.predict_neighbours.out_channels == 189


def test_coarsest_scores_are_supervised_at_twice_their_resolution(head, maps):
    scores, embedded = head.score(maps)
    assert scores.shape == (2, 3, 60, 68)
    assert embedded.shape == (2, 3, 4, 5)
    # The four channels of a class are the four pixels of a cell; odd maps leave the last out.
    coarsest = head.stage_refinements[-1](head.global_convolutions[-1](maps[-1]))
    for row in range(2):
        for column in range(2):
            channels = coarsest[:, 2 * row + column :: 4, :, : 3 - column]
            assert torch.equal(embedded[:, :, row::2, column::2], channels)
    labels = torch.randint(3, (2, 1, 57, 65))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]
    losses = head.loss(maps, samples, {})
    assert losses.keys() == {'loss_ce', 'acc_seg', 'embedding.loss_ce'}
    enlarged = F.interpolate(embedded, (57, 65), mode='bilinear')
    expected = 0.4 * F.cross_entropy(enlarged, labels[:, 0])
    torch.testing.assert_close(losses['embedding.loss_ce'], expected)
    (losses['loss_ce'] + losses['embedding.loss_ce']).backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


@torch.no_grad()
def test_prediction_is_the_neighbours_average_enlarged(head, maps):
    """With refinements and finer score maps off, only the path from the coarsest map is left."""
    for name, parameter in head.named_parameters():
        finer = name.startswith('global_convolutions') and '.3.' not in name
        if finer or 'refinements' in name:
            parameter.zero_()
    scores, embedded = head.score(maps)
    total = embedded
    for size in ((8, 9), (15, 17)):
        total = F.interpolate(total, size, mode='bilinear')
    total = F.conv2d(total, head.predict_neighbours.weight, head.predict_neighbours.bias, padding=1)
    total = head.average_neighbours(total)
    for _ in range(2):
        total = F.interpolate(total, scale_factor=2, mode='bilinear')
    torch.testing.assert_close(scores, total)
    assert torch.equal(head(maps), scores)


def test_branches_start_near_passing_maps_through(head):
    for branch in head.semantic_branches:
        for conv in branch.convs:
            assert (conv.bias == 1).all()
            assert 0 < conv.weight.std() < 0.01


def test_maps_of_a_dilated_backbone_are_refused(head):
    maps = [torch.randn(1, 4 + 2 * i, side, side) for i, side in enumerate((16, 8, 8, 8))]
    with pytest.raises(UserError, match=r'a map of \(8, 8\) needs .*, not of \(8, 8\); .*strides='):
        head(maps)
