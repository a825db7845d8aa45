import copy

import pytest
import torch
from torch import nn

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.channel_groups import find_groups, masked
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.plan import CompressionPlan, fingerprint
from tests.test_compression.networks import MixedNet, coded_images

ORDER = {'stem': 0, 'branch': 1, 'left': 2, 'right': 3, 'last': 4, 'classifier': 5}


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return MixedNet().eval()


@pytest.fixture(scope='module')
def images():
    return coded_images(6)[0]


@pytest.fixture(scope='module')
def groups(model, images):
    return find_groups(model, ChannelGraph(model, images[:1]), ORDER)


def test_groups_couple_the_summands_and_refuse_the_output(groups):
    found, refused = groups
    assert [group.root for group in found] == ['stem', 'left', 'right', 'last']
    assert sorted(found[0].members) == ['branch', 'stem']
    assert sorted(reader.module for reader in found[0].readers) == ['branch', 'left', 'right']
    assert list(refused) == ['classifier']


def test_readers_tell_where_channels_arrive(groups):
    by_root = {group.root: group for group in groups[0]}
    (reader,) = by_root['right'].readers
    assert dict(zip(reader.inputs.tolist(), reader.channels.tolist(), strict=True)) == {
        4: 0, 5: 1, 6: 2,
    }  # fmt: skip
    (reader,) = by_root['last'].readers
    pairs = sorted(zip(reader.inputs.tolist(), reader.channels.tolist(), strict=True))
    assert pairs == [(place, place // 16) for place in range(80)]


@pytest.mark.parametrize(
    'removed',
    [{'stem': [1, 4]}, {'left': [0]}, {'right': [2], 'last': [0, 3]}, {'stem': [0], 'left': [1]}],
)
def test_masked_model_computes_what_the_smaller_one_does(model, images, groups, removed):
    found, _ = groups
    widths = {group.root: group.num_channels for group in found}
    channels = {
        root: sorted(set(range(widths[root])) - set(gone)) for root, gone in removed.items()
    }
    small = copy.deepcopy(model)
    apply_plan(small, CompressionPlan(fingerprint(model), channels=channels), images[:1])
    with torch.no_grad(), masked(model, found, removed):
        expected = model(images)
    with torch.no_grad():
        torch.testing.assert_close(small(images), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model(images), expected)  # the masks are off again, and matter


class Blind(nn.Module):
    """Its backbone, or all of it, gives no gradients."""

    def __init__(self, wholly: bool) -> None:
        super().__init__()
        self.wholly = wholly
        self.backbone = nn.Conv2d(3, 4, 1)
        self.neck = nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, images):
        with torch.no_grad():
            features = self.backbone(images)
            if self.wholly:
                return self.last(self.neck(features))
        return self.last(self.neck(features))


def test_layers_that_no_gradient_reaches_are_refused():
    model = Blind(wholly=False)
    groups, refused = find_groups(model, ChannelGraph(model, (4, 4)), {})
    assert [group.root for group in groups] == ['neck']
    assert refused['backbone'] == 'no gradient reached it when the model was traced'


def test_a_model_without_any_gradient_cannot_be_traced():
    with pytest.raises(CompressionError, match=r'Blind cannot be traced: no gradient.*no_grad'):
        ChannelGraph(Blind(wholly=True), (4, 4))
