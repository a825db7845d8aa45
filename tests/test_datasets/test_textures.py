import numpy as np
import pytest

from mmlayerwise.datasets.textures import TEXTURES, smooth_noise


@pytest.mark.parametrize('name', TEXTURES)
@pytest.mark.parametrize('size', [(31, 47), (160, 160)])
def test_textures_fill_the_size_within_their_range_and_vary(name, size):
    texture = TEXTURES[name](np.random.default_rng(0), *size)
    assert texture.shape == size
    assert texture.dtype == np.float32
    assert np.abs(texture).max() < 1.3
    assert texture.std() > 0.1
    again = TEXTURES[name](np.random.default_rng(0), *size)
    other = TEXTURES[name](np.random.default_rng(1), *size)
    assert np.array_equal(texture, again)
    assert not np.array_equal(texture, other)


def test_stripes_are_one_sine_wave():
    stripes = TEXTURES['stripes'](np.random.default_rng(3), 128, 128)
    spectrum = np.abs(np.fft.rfft2(stripes - stripes.mean())) ** 2
    # A window's leakage aside, the energy of a plane wave sits around one frequency.
    y, x = np.unravel_index(spectrum.argmax(), spectrum.shape)
    rows = np.arange(y - 2, y + 3) % 128
    assert spectrum[rows][:, max(x - 2, 0) : x + 3].sum() > 0.8 * spectrum.sum()


def test_more_cells_give_finer_noise():
    steps = [
        np.abs(np.diff(smooth_noise(np.random.default_rng(0), 128, 128, cells))).mean()
        for cells in (3, 8, 32)
    ]
    assert steps[0] < steps[1] < steps[2]
