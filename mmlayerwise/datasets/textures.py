"""Procedural textures for the backgrounds of synthetic scenes."""

from collections.abc import Callable

import cv2
import numpy as np

Texture = Callable[[np.random.Generator, int, int], np.ndarray]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Interpolate random values on a ``cells`` x ``cells`` grid to an image.

    Args:
        rng: Source of randomness.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        cells: Number of grid values a side; more give finer noise.

    Returns:
        A float32 array of shape (height, width), about uniform in [-1, 1].
    """
    grid = rng.random((cells, cells), dtype=np.float32) * 2 - 1
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def clouds(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw smooth noise of three scales, shape (height, width), float32 within about [-1, 1]."""
    return sum(
        weight * smooth_noise(rng, height, width, cells)
        for weight, cells in ((0.55, 4), (0.3, 8), (0.15, 16))
    )


def stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a sine wave of random direction and period, (height, width), float32 in [-1, 1]."""
    angle = rng.uniform(0, np.pi)
    frequency = 2 * np.pi / rng.uniform(5, 14)
    phase = rng.uniform(0, 2 * np.pi)
    x = np.arange(width, dtype=np.float32) * np.float32(np.cos(angle) * frequency)
    y = np.arange(height, dtype=np.float32) * np.float32(np.sin(angle) * frequency)
    # sin(x + y) from one-dimensional tables: no transcendental function per pixel.
    x += np.float32(phase)
    return np.outer(np.sin(y), np.cos(x)) + np.outer(np.cos(y), np.sin(x))


def grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw independent noise in blocks of 2 x 2 pixels, (height, width), float32 in [-1, 1]."""
    blocks = rng.integers(0, 256, ((height + 1) // 2, (width + 1) // 2), dtype=np.uint8)
    pixels = blocks.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return pixels.astype(np.float32) / 127.5 - 1


TEXTURES: dict[str, Texture] = {'clouds': clouds, 'stripes': stripes, 'grain': grain}
