import math

import pytest
import torch
from torch.nn import functional as F

from mmlayerwise.models.layers.discriminative_feature import (
    ChannelAttentionBlock,
    RefinementResidualBlock,
)

NORM = dict(type='BN')


@torch.no_grad()
@pytest.mark.parametrize('rectified', [True, False])
def test_refinement_is_a_projection_and_its_residual(rectified):
    torch.manual_seed(0)
    block = RefinementResidualBlock(3, 5, NORM, rectified).double().eval()
    inner = block.residual[0]
    inner.norm.running_mean.normal_()
    inner.norm.running_var.uniform_(0.5, 2)
    inputs = torch.randn(2, 3, 6, 7).double()
    projected = torch.einsum('oc,nchw->nohw', block.project.weight[:, :, 0, 0], inputs)
    hidden = F.conv2d(projected, inner.conv.weight, padding=1)
    mean, variance = (
        statistic[:, None, None] for statistic in (inner.norm.running_mean, inner.norm.running_var)
    )
    hidden = ((hidden - mean) / (variance + inner.norm.eps).sqrt()).clamp(min=0)
    expected = projected + F.conv2d(hidden, block.residual[1].weight, padding=1)
    if rectified:
        expected = expected.clamp(min=0)
    torch.testing.assert_close(block(inputs), expected)


@torch.no_grad()
def test_attention_weighs_fine_channels_by_both_averages():
    block = ChannelAttentionBlock(1).double()
    first, second = block.attention[0], block.attention[2]
    first.weight.copy_(torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1))
    second.weight.fill_(0.5)
    first.bias.fill_(-1)
    second.bias.fill_(0.25)
    fine = torch.tensor([[1.0, 3.0]]).double().reshape(1, 1, 1, 2)
    coarse = torch.tensor([[-2.0, 0.0]]).double().reshape(1, 1, 1, 2)
    # Averages 2 and -1: relu(2 * 2 - 3 * 1 - 1) = 0, so that the weight is sigmoid(0.25).
    weight = 1 / (1 + math.exp(-0.25))
    assert block(fine, coarse).flatten().tolist() == pytest.approx([weight - 2, 3 * weight])
    # Averages 2 and 1: relu(4 + 3 - 1) = 6.
    weight = 1 / (1 + math.exp(-3.25))
    assert block(fine, -coarse).flatten().tolist() == pytest.approx([weight + 2, 3 * weight])
