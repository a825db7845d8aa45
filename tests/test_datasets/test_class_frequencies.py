from fractions import Fraction
from statistics import median

import cv2
import numpy as np
import pytest

from mmlayerwise.datasets.class_frequencies import count_class_pixels, median_frequency_weights
from mmlayerwise.utils.errors import UserError

# In the released prototxt of SegNet, without that of sign symbols, which our copy labels otherwise.
RELEASED = [0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 1.8418, 0.6823, 6.2478, 7.3614]


def test_counts_leave_void_out():
    maps = [np.array([[0, 1], [1, 255]]), np.array([[2, 2], [2, -1]])]
    assert count_class_pixels(maps, 3).tolist() == [[1, 2, 0], [0, 0, 3]]


def test_weights_are_those_of_the_formula():
    counts = np.array([[10, 30, 0], [5, 0, 15], [0, 8, 2]])
    frequencies = [Fraction(15, 60), Fraction(38, 50), Fraction(17, 30)]
    expected = [float(median(frequencies) / frequency) for frequency in frequencies]
    np.testing.assert_allclose(median_frequency_weights(counts), expected, rtol=1e-14)


def test_equal_classes_weigh_one():
    np.testing.assert_array_equal(median_frequency_weights(np.full((4, 5), 7)), 1)


def test_class_that_does_not_occur_is_named():
    with pytest.raises(UserError, match=r'but \[1\] of 3'):
        median_frequency_weights(np.array([[1, 0, 2]]))


def test_weights_of_camvid_are_near_the_released_ones(data_root):
    files = sorted((data_root / 'camvid' / 'ann_dir' / 'train').glob('*.png'))
    maps = (cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files)
    # Void is the twelfth class there.
    weights = median_frequency_weights(count_class_pixels(maps, 12))[:11]
    np.testing.assert_allclose(np.delete(weights, 6), RELEASED, rtol=0.11)
