import pytest
import torch

pytest.importorskip('mmdet')

from mmlayerwise.models.layers import Reorg
from mmlayerwise.models.necks import PassthroughNeck


def test_finer_level_comes_first():
    torch.manual_seed(0)
    neck = PassthroughNeck((8, 16), out_channels=12, passthrough_channels=4).eval()
    fine, coarse = torch.randn(2, 8, 6, 4), torch.randn(2, 16, 3, 2)
    (output,) = neck((fine, coarse))
    assert output.shape == (2, 4 * 4 + 12, 3, 2)
    torch.testing.assert_close(output[:, :16], Reorg(2)(neck.passthrough_conv(fine)))
    torch.testing.assert_close(output[:, 16:], neck.coarse_convs(coarse))
