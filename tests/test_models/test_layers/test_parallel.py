import torch
from torch import nn

from mmlayerwise.models.layers import Parallel


def test_concatenates_the_channels_in_order():
    inputs = torch.randn(1, 2, 3, 3)
    outputs = Parallel({'b': nn.Identity(), 'a': nn.Conv2d(2, 4, 1)})(inputs)
    assert outputs.shape == (1, 6, 3, 3)
    assert torch.equal(outputs[:, :2], inputs)
