import cv2
import numpy as np
import pytest
import torch

from mmlayerwise.visualization.filters_plot import MOST_FILTERS, _columns, _mosaic, draw_filters


@pytest.mark.parametrize(
    'shape', [(64, 3, 3, 3), (5, 1, 7, 7), (6, 12, 3, 3), (16, 8, 3), (300, 3, 2, 2), (1, 3, 1, 1)]
)
def test_a_picture_is_written(shape, tmp_path):
    path = tmp_path / 'filters.png'
    draw_filters(torch.randn(shape), torch.zeros(shape), path, title='conv1')
    picture = cv2.imread(str(path))
    assert picture.std() > 10
    assert [file.name for file in tmp_path.iterdir()] == ['filters.png']


def test_colours_are_red_green_blue_round_grey():
    weights = torch.zeros(1, 3, 3, 3)
    weights[0, 0, 0, 0] = -2.0
    weights[0, 2, 2, 2] = 1.0
    mosaic = _mosaic(weights, 1, bgr=False)
    cell = len(mosaic) // 3
    assert mosaic[0, 0].tolist() == [0, 0.5, 0.5]
    assert mosaic[-1, -1].tolist() == [0.5, 0.5, 0.75]
    assert mosaic[cell, cell].tolist() == [0.5, 0.5, 0.5]
    swapped = _mosaic(weights, 1, bgr=True)
    assert swapped[0, 0].tolist() == [0.5, 0.5, 0]


def test_filters_stand_in_rows_with_gaps():
    weights = torch.arange(1.0, 4.0).view(3, 1, 1, 1).repeat(1, 1, 8, 8)
    mosaic = _mosaic(weights, 2, bgr=False)
    assert mosaic.shape == (17, 17)
    assert np.isnan(mosaic[8]).all()
    assert np.isnan(mosaic[9:, 8:]).all()
    assert (mosaic[:8, :8] == 1).all()


@pytest.mark.parametrize('shape', [(64, 3, 3, 3), (64, 16, 3), (64, 12, 3, 3), (6, 1, 7, 7)])
def test_the_mosaic_is_about_as_wide_as_high(shape):
    weights = torch.ones(shape)
    height, width = _mosaic(weights, _columns(weights), bgr=False).shape[:2]
    assert 0.6 < height / width < 1.6


def test_so_many_filters_are_cut(tmp_path):
    assert MOST_FILTERS == 256
    draw_filters(torch.randn(257, 3, 1, 1), torch.randn(257, 3, 1, 1), tmp_path / 'a.png')
