import pytest
import torch

mmcv = pytest.importorskip('mmcv')
from mmcv.ops import PSAMask  # noqa: E402


def spread(windows: torch.Tensor, psa_type: str, mask_size: tuple[int, int]) -> torch.Tensor:
    """Copy every element of every window to the pixel it belongs to."""
    batch, _, height, width = windows.shape
    planes = windows.view(batch, *mask_size, height, width)
    output = torch.zeros(batch, height, width, height, width, dtype=windows.dtype)
    for row, column, mask_row, mask_column in torch.cartesian_prod(
        *(torch.arange(size) for size in (height, width, *mask_size))
    ).tolist():
        other_row = row + mask_row - (mask_size[0] - 1) // 2
        other_column = column + mask_column - (mask_size[1] - 1) // 2
        if 0 <= other_row < height and 0 <= other_column < width:
            value = planes[:, mask_row, mask_column, row, column]
            if psa_type == 'collect':
                output[:, other_row, other_column, row, column] = value
            else:
                output[:, row, column, other_row, other_column] = value
    return output.view(batch, height * width, height, width)


# A window smaller than the map, one of exactly its reach, larger ones, and an even size.
@pytest.mark.parametrize('mask_size', [(3, 1), (7, 5), (9, 11), (4, 4)])
@pytest.mark.parametrize('psa_type', ['collect', 'distribute'])
class TestPSAMask:
    def windows(self, mask_size):
        generator = torch.Generator().manual_seed(0)
        shape = (2, mask_size[0] * mask_size[1], 4, 3)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def test_equals_a_plain_loop(self, psa_type, mask_size):
        windows = self.windows(mask_size)
        expected = spread(windows, psa_type, mask_size)
        assert torch.equal(PSAMask(psa_type, mask_size)(windows), expected)

    def test_gradients_are_exact(self, psa_type, mask_size):
        windows = self.windows(mask_size).requires_grad_()
        assert torch.autograd.gradcheck(PSAMask(psa_type, mask_size), (windows,), fast_mode=True)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_copied_exactly(dtype):
    windows = torch.randn(1, 9, 4, 3).to(dtype).requires_grad_()
    output = PSAMask('distribute', (3, 3))(windows)
    assert torch.equal(output, spread(windows.detach(), 'distribute', (3, 3)))
    output.sum().backward()
    # Counts of the pixels that a window position reaches: 1 inside the map, 0 outside.
    assert windows.grad[0, 4].min() == 1
    assert windows.grad[0, 0, 0].max() == 0


def test_window_that_does_not_fit_the_channels_raises():
    with pytest.raises(AssertionError):
        PSAMask('collect', (3, 3))(torch.zeros(1, 8, 4, 4))


def test_empty_batch():
    assert PSAMask('collect', (3, 3))(torch.zeros(0, 9, 4, 4)).shape == (0, 16, 4, 4)
