import pytest
import torch
import torch.nn.functional as F

mmcv = pytest.importorskip('mmcv')
from mmcv.ops import MaskedConv2d  # noqa: E402

from mmlayerwise.ops.masked_conv import masked_col2im_forward, masked_im2col_forward  # noqa: E402


@pytest.mark.parametrize('kernel_size', [1, 3, (3, 5)])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_equals_an_ordinary_convolution_where_the_mask_is_set(kernel_size, dtype):
    padding = (
        kernel_size // 2 if isinstance(kernel_size, int) else tuple(k // 2 for k in kernel_size)
    )
    module = MaskedConv2d(3, 4, kernel_size, padding=padding).to(dtype)
    input = torch.randn(1, 3, 6, 7, dtype=dtype)
    mask = torch.rand(1, 6, 7) > 0.5
    expected = F.conv2d(input, module.weight, module.bias, padding=padding) * mask
    torch.testing.assert_close(module(input, mask), expected)


def test_empty_mask_gives_zeros_and_no_mask_an_ordinary_convolution():
    module = MaskedConv2d(3, 4, 3, padding=1)
    input = torch.randn(1, 3, 6, 7)
    assert not module(input, torch.zeros(1, 6, 7)).any()
    expected = F.conv2d(input, module.weight, module.bias, padding=1)
    torch.testing.assert_close(module(input), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_columns_are_the_windows_of_the_chosen_pixels(dtype):
    image = torch.arange(24.0).view(1, 2, 3, 4).to(dtype)
    rows, columns = torch.tensor([0, 2]), torch.tensor([0, 1])
    col = torch.full((2 * 9, 2), -1.0, dtype=dtype)
    masked_im2col_forward(image, rows, columns, col, kernel_h=3, kernel_w=3, pad_h=1, pad_w=1)
    # Around (0, 0) all but the lower right four are zeros; around (2, 1) the last row is.
    first = [0, 0, 0, 0, 0, 1, 0, 4, 5]
    second = [4, 5, 6, 8, 9, 10, 0, 0, 0]
    expected = torch.tensor([first, second]).T.to(dtype)
    assert torch.equal(col[:9], expected)
    assert torch.equal(col[9:], torch.where(expected_inside(expected), expected + 12, 0))


def expected_inside(windows: torch.Tensor) -> torch.Tensor:
    """Which elements of the hand-written windows are pixels: all but padding."""
    inside = windows != 0
    inside[4, 0] = True  # pixel (0, 0) itself holds zero
    return inside


def test_values_reach_only_the_chosen_pixels():
    image = torch.full((1, 2, 3, 4), 7.0)
    col = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    masked_col2im_forward(
        col, torch.tensor([0, 2]), torch.tensor([1, 3]), image, height=3, width=4, channels=2
    )
    expected = torch.full((1, 2, 3, 4), 7.0)
    expected[0, :, 0, 1] = torch.tensor([1.0, 3.0])
    expected[0, :, 2, 3] = torch.tensor([2.0, 4.0])
    assert torch.equal(image, expected)
